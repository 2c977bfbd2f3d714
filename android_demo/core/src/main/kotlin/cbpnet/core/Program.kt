package cbpnet.core

/**
 * A bundle's methods on named tensors.
 *
 * A runtime pairs tensors by position; here they are paired by the manifest's names, and checked on
 * both sides. It may be called from several threads: one call runs at a time.
 *
 * @property manifest what the bundle says of itself.
 */
public class Program private constructor(
    private val runner: MethodRunner,
    public val manifest: Manifest,
    private val check: () -> Unit,
) {
    public constructor(runner: MethodRunner, manifest: Manifest) : this(runner, manifest, check = {})

    /** The same program, which calls [check] before every method; what that throws ends the call. */
    internal fun checked(check: () -> Unit): Program = Program(runner, manifest, check)

    /**
     * Runs a method on the tensors that it takes, by name, and returns what it gives, by name.
     *
     * Tensors that the method does not take are ignored.
     *
     * @throws InputException the runtime cannot run the method, for instance for lack of a backend
     *   or of memory, or it gives other tensors than the manifest says.
     * @throws IllegalArgumentException a tensor is missing, or not as the manifest says.
     */
    public fun call(method: String, tensors: Map<String, Tensor>): Map<String, Tensor> {
        check()
        val info = manifest.method(method)
        val inputs = info.inputs.map { wanted ->
            val tensor = requireNotNull(tensors[wanted.name]) { "$method takes ${wanted.name}, which is missing" }
            require(tensor.fits(wanted)) { "$method takes $wanted, not ${tensor::class.simpleName} ${tensor.shape}" }
            tensor
        }
        val outputs = synchronized(runner) { run(method, inputs) }
        val agree = outputs.size == info.outputs.size &&
            outputs.zip(info.outputs).all { (tensor, wanted) -> tensor.fits(wanted) }
        if (!agree) {
            throw InputException(
                "The bundle contradicts itself: its method $method gives other numbers than it says. " +
                    "Export the bundle again.",
            )
        }
        return info.outputs.map { it.name }.zip(outputs).toMap()
    }

    private fun Tensor.fits(wanted: TensorInfo): Boolean {
        val dtype = when (this) {
            is FloatTensor -> DType.FLOAT32
            is LongTensor -> DType.INT64
        }
        return dtype == wanted.dtype && shape == wanted.shape
    }

    private fun run(method: String, inputs: List<Tensor>): List<Tensor> = try {
        runner.run(method, inputs)
    } catch (error: InputException) {
        throw error
    } catch (error: Exception) {
        throw InputException("The bundle cannot be run on this device ($method: ${error.message}).", error)
    }
}
