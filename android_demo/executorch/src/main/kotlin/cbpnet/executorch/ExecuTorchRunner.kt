package cbpnet.executorch

import cbpnet.core.FloatTensor
import cbpnet.core.LongTensor
import cbpnet.core.MethodRunner
import cbpnet.core.Tensor
import org.pytorch.executorch.DType
import org.pytorch.executorch.EValue
import org.pytorch.executorch.Module
import org.pytorch.executorch.Tensor as ExecuTorchTensor

/**
 * A bundle in ExecuTorch's Android library.
 *
 * Read the bundle's manifest before, which verifies it: a damaged program can end the process.
 *
 * @param path of the bundle, which must stay as it is until [close]: the file is mapped, not read.
 * @param threads of the runtime for one call; 0 leaves the choice to ExecuTorch, half of the cores.
 *   The runtime's threads are the process's: the last bundle that was opened decides.
 */
public class ExecuTorchRunner(path: String, threads: Int = 0) : MethodRunner {
    private val module = Module.load(path, Module.LOAD_MODE_MMAP, threads)

    /** The newest call's inputs: a lesson passes megabytes of statistics again and again. */
    private var passed = emptyMap<Tensor, ExecuTorchTensor>()

    @Synchronized
    override fun run(method: String, inputs: List<Tensor>): List<Tensor> {
        passed = inputs.associateWith { passed[it] ?: toExecuTorch(it) }
        val values = Array(inputs.size) { EValue.from(passed.getValue(inputs[it])) }
        return module.execute(method, *values).map { toCore(it.toTensor()) }
    }

    /** Frees the program, after a call that is running. */
    @Synchronized
    override fun close() {
        module.destroy()
    }
}

private fun toExecuTorch(tensor: Tensor): ExecuTorchTensor {
    val shape = LongArray(tensor.shape.size) { tensor.shape[it].toLong() }
    return when (tensor) {
        is FloatTensor -> ExecuTorchTensor.fromBlob(tensor.values, shape)
        is LongTensor -> ExecuTorchTensor.fromBlob(tensor.values, shape)
    }
}

/** A copy: the runtime writes its next results into the memory of these. */
private fun toCore(tensor: ExecuTorchTensor): Tensor {
    val shape = tensor.shape().map(Math::toIntExact)
    return when (tensor.dtype()) {
        DType.FLOAT -> FloatTensor(tensor.dataAsFloatArray, shape)
        DType.INT64 -> LongTensor(tensor.dataAsLongArray, shape)
        else -> throw IllegalStateException("A method gives ${tensor.dtype()}, and only float32 and int64 are known.")
    }
}
