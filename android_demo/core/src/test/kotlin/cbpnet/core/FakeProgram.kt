package cbpnet.core

/** The shapes of tensors by name. */
internal typealias Shapes = Map<String, List<Int>>

/** A call of a fake bundle's method. */
internal class Call(val method: String, val inputs: Map<String, Tensor>) {
    fun floats(name: String) = (inputs.getValue(name) as FloatTensor).values.toList()

    fun labels() = (inputs.getValue("labels") as LongTensor).values.toList()

    /** A copy of an input's numbers. */
    fun input(name: String) = (inputs.getValue(name) as FloatTensor).values.copyOf()
}

/**
 * A bundle without a network, for tests: its images are of 4 x 4, and its features the mean colour.
 *
 * It notes every call.
 */
internal abstract class FakeProgram(
    private val microBatch: Int,
    private val classes: Int,
    private val tasks: Int,
    private val weights: String,
) : MethodRunner {
    val calls = mutableListOf<Call>()

    /** What happens before a method runs; a test may throw here. */
    var before: (String) -> Unit = {}

    protected abstract val config: String
    protected abstract val state: Map<String, StateTensor>
    protected open val adaptation: Map<String, StateTensor> = emptyMap()

    /** What each method takes, and what it gives. */
    protected abstract val methods: Map<String, Pair<Shapes, Shapes>>

    /** What a method gives, by name. */
    protected abstract fun answer(call: Call): Map<String, FloatArray>

    val manifestJson: JsonObject
        get() = JsonObject(
            "target" to JsonText("none"),
            "precision" to JsonText("fp32"),
            "backbone" to JsonObject(
                "name" to JsonText("colours"), "parameters" to JsonNumber(1000000),
                "dim" to JsonNumber(DIM), "weights" to JsonText(weights),
            ),
            "preprocessing" to parseJson(
                """{"image_size": $SIZE, "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.25, 1.0],
                    "interpolation": "bicubic", "crop_pct": 1.0}""",
            ),
            "config" to parseJson(config),
            "classes" to JsonNumber(classes),
            "tasks" to JsonNumber(tasks),
            "class_names" to JsonArray(emptyList()),
            "micro_batch" to JsonNumber(microBatch),
            "image_size" to JsonNumber(SIZE),
            "trainable_parameters" to JsonNumber(24),
            "trainable_fraction" to JsonNumber("2.4e-05"),
            "head_parameters" to JsonNumber(12),
            "state" to layout(state),
            "adaptation" to layout(adaptation),
            "methods" to JsonObject(
                methods.mapValues { (_, tensors) ->
                    val (inputs, outputs) = tensors
                    JsonObject("inputs" to typed(inputs), "outputs" to typed(outputs))
                },
            ),
        )

    val manifest: Manifest get() = Manifest.parse(manifestJson.toString().toByteArray())

    fun program() = Program(this, manifest)

    override fun run(method: String, inputs: List<Tensor>): List<Tensor> {
        before(method)
        val (taken, given) = methods.getValue(method)
        val call = Call(method, taken.keys.zip(inputs).toMap())
        calls += call
        val answer = answer(call)
        return given.map { (name, shape) -> FloatTensor(answer.getValue(name), shape) }
    }

    override fun close() = Unit

    protected fun states(vararg names: String): Shapes = names.associate { "state.$it" to state.getValue(it).shape }

    protected fun Shapes.prefixed(prefix: String): Shapes = mapKeys { prefix + it.key }

    private fun layout(tensors: Map<String, StateTensor>) = JsonArray(
        tensors.map { (name, tensor) ->
            val counts = tensor.counts?.let { JsonText(it.name.lowercase()) } ?: JsonNull
            JsonObject(described(name, tensor.shape).entries + ("counts" to counts))
        },
    )

    private fun typed(tensors: Shapes) = JsonArray(
        tensors.map { (name, shape) ->
            val dtype = if (name == "labels") "int64" else "float32"
            JsonObject(described(name, shape).entries + ("dtype" to JsonText(dtype)))
        },
    )

    private fun described(name: String, shape: List<Int>) =
        JsonObject("name" to JsonText(name), "shape" to JsonArray(shape.map(::JsonNumber)))

    companion object {
        const val DIM = 3
        const val SIZE = 4

        /** Each channel's mean of each image. */
        fun colours(call: Call): FloatArray {
            val area = SIZE * SIZE
            val pixels = call.input("images")
            return FloatArray(pixels.size / area) { pixels.slice(it * area until (it + 1) * area).average().toFloat() }
        }

        /** Class counts and means with the images of a batch, whose features are called [x]. */
        fun observed(call: Call, x: String): Map<String, FloatArray> {
            val count = call.input("state.classes.count")
            val mean = call.input("state.classes.mean")
            val seen = call.input(x)
            call.labels().forEachIndexed { row, label ->
                if (label >= 0) {
                    val at = label.toInt()
                    count[at]++
                    for (i in 0 until DIM) mean[at * DIM + i] += (seen[row * DIM + i] - mean[at * DIM + i]) / count[at]
                }
            }
            return mapOf("state.classes.count" to count, "state.classes.mean" to mean)
        }
    }
}
