package cbpnet.core

/**
 * A bundle without a network, for tests: a class is the mean colour of its images.
 *
 * Three numbers a feature, images of 4 x 4, [microBatch] at a time. It notes every call.
 */
internal class FakeBundle(
    private val microBatch: Int = 2,
    private val classes: Int = 4,
    private val tasks: Int = 2,
    private val weights: String = "0123456789abcdef",
) : MethodRunner {
    class Call(val method: String, val inputs: Map<String, Tensor>) {
        fun floats(name: String) = (inputs.getValue(name) as FloatTensor).values.toList()
        fun labels() = (inputs.getValue("labels") as LongTensor).values.toList()
    }

    val calls = mutableListOf<Call>()

    /** What happens before a method runs; a test may throw here. */
    var before: (String) -> Unit = {}

    private val state = linkedMapOf(
        "prompts.e" to StateTensor(listOf(tasks, 1, 2, 1, DIM), Counted.TASKS),
        "prompts.keys" to StateTensor(listOf(tasks, DIM), Counted.TASKS),
        "head.weight" to StateTensor(listOf(classes, DIM), Counted.CLASSES),
        "adam.step" to StateTensor(listOf(1), null),
        "tasks.current" to StateTensor(listOf(1), null),
        "tasks.known" to StateTensor(listOf(tasks), Counted.TASKS),
        "classes.task" to StateTensor(listOf(classes), Counted.CLASSES),
        "classes.count" to StateTensor(listOf(classes), Counted.CLASSES),
        "classes.mean" to StateTensor(listOf(classes, DIM), Counted.CLASSES),
    )
    private val layout = state.mapValues { it.value.shape }
    private val sums = linkedMapOf("count" to listOf(1), "colour" to listOf(DIM))
    private val images = "images" to listOf(microBatch, 3, SIZE, SIZE)
    private val query = "query" to listOf(microBatch, DIM)
    private val labels = "labels" to listOf(microBatch)

    private val methods = mapOf(
        "initial_state" to (emptyMap<String, List<Int>>() to states(*layout.keys.toTypedArray())),
        "query" to (mapOf(images) to mapOf(query)),
        "observe" to (mapOf(query, labels) + states(*SEEN) to states(*SEEN)),
        "begin_task" to (
            mapOf("task" to listOf(1), "members" to listOf(classes)) + states("tasks.known", "classes.task") to
                states("adam.step", "tasks.current", "tasks.known", "classes.task")
            ),
        "predict" to (
            mapOf(images, query) + states("classes.task", "classes.mean") to
                mapOf("scores" to listOf(microBatch, classes), "task" to listOf(microBatch, tasks))
            ),
        "gradients" to (mapOf(images, query, labels) + sums.prefixed("sums.") to sums.prefixed("sums.")),
        "update" to (
            mapOf("noise" to listOf(1, 1, DIM), "rate" to listOf(1)) + states("adam.step", "prompts.e") +
                sums.prefixed("sums.") to states("adam.step", "prompts.e")
            ),
    )

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
            "config" to parseJson(
                """{"readout": {"kind": "none"}, "cbp": {"replacement_rate": 0.0001, "max": Infinity}}""",
            ),
            "classes" to JsonNumber(classes),
            "tasks" to JsonNumber(tasks),
            "class_names" to JsonArray(emptyList()),
            "micro_batch" to JsonNumber(microBatch),
            "image_size" to JsonNumber(SIZE),
            "trainable_parameters" to JsonNumber(24),
            "trainable_fraction" to JsonNumber("2.4e-05"),
            "head_parameters" to JsonNumber(12),
            "state" to JsonArray(
                state.map { (name, tensor) ->
                    val counts = tensor.counts?.let { JsonText(it.name.lowercase()) } ?: JsonNull
                    JsonObject(described(name, tensor.shape).entries + ("counts" to counts))
                },
            ),
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
        val answer = FakeLearner(call, layout).run()
        return given.map { (name, shape) -> FloatTensor(answer.getValue(name), shape) }
    }

    override fun close() = Unit

    private fun states(vararg names: String) = names.associate { "state.$it" to layout.getValue(it) }

    private fun Map<String, List<Int>>.prefixed(prefix: String) = mapKeys { prefix + it.key }

    private fun typed(tensors: Map<String, List<Int>>) = JsonArray(
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
        private val SEEN = arrayOf("classes.count", "classes.mean")
    }
}

/** The mathematics of [FakeBundle], one method at a time. */
private class FakeLearner(private val call: FakeBundle.Call, private val layout: Map<String, List<Int>>) {
    private val dim = FakeBundle.DIM

    fun run(): Map<String, FloatArray> = when (call.method) {
        "initial_state" -> initialState()
        "query" -> mapOf("query" to query())
        "observe" -> observe()
        "begin_task" -> beginTask()
        "predict" -> predict()
        "gradients" -> gradients()
        else -> update()
    }

    private fun input(name: String) = (call.inputs.getValue(name) as FloatTensor).values.copyOf()

    private fun initialState() = layout.entries.associate { (name, shape) ->
        val value = when (name) {
            "classes.task", "tasks.current" -> -1f
            "prompts.e" -> 0.5f
            else -> 0f
        }
        "state.$name" to FloatArray(elements(shape)) { value }
    }

    /** Each channel's mean. */
    private fun query(): FloatArray {
        val area = FakeBundle.SIZE * FakeBundle.SIZE
        val pixels = input("images")
        return FloatArray(pixels.size / area) { pixels.slice(it * area until (it + 1) * area).average().toFloat() }
    }

    private fun observe(): Map<String, FloatArray> {
        val count = input("state.classes.count")
        val mean = input("state.classes.mean")
        val query = input("query")
        call.labels().forEachIndexed { row, label ->
            if (label >= 0) {
                val at = label.toInt()
                count[at]++
                for (i in 0 until dim) mean[at * dim + i] += (query[row * dim + i] - mean[at * dim + i]) / count[at]
            }
        }
        return mapOf("state.classes.count" to count, "state.classes.mean" to mean)
    }

    private fun beginTask(): Map<String, FloatArray> {
        val task = input("task")
        val known = input("state.tasks.known").also { it[task[0].toInt()] = 1f }
        val members = input("members")
        val taskOf = input("state.classes.task").also { all ->
            for (i in all.indices) if (members[i] > 0 && all[i] < 0) all[i] = task[0]
        }
        return mapOf(
            "state.adam.step" to floatArrayOf(0f), "state.tasks.current" to task,
            "state.tasks.known" to known, "state.classes.task" to taskOf,
        )
    }

    /** The nearest mean; the task is its class's. */
    private fun predict(): Map<String, FloatArray> {
        val taskOf = input("state.classes.task")
        val mean = input("state.classes.mean")
        val query = input("query")
        val rows = query.size / dim
        val scores = FloatArray(rows * taskOf.size) { Float.NEGATIVE_INFINITY }
        val chosen = FloatArray(rows * layout.getValue("tasks.known")[0])
        for (row in 0 until rows) {
            for (c in taskOf.indices.filter { taskOf[it] >= 0 }) {
                val apart = (0 until dim).map { query[row * dim + it] - mean[c * dim + it] }
                scores[row * taskOf.size + c] = -apart.sumOf { (it * it).toDouble() }.toFloat()
            }
            val best = taskOf.indices.maxByOrNull { scores[row * taskOf.size + it] }!!
            chosen[row * chosen.size / rows + taskOf[best].toInt()] = 1f
        }
        return mapOf("scores" to scores, "task" to chosen)
    }

    private fun gradients(): Map<String, FloatArray> {
        val query = input("query")
        val colour = input("sums.colour")
        val count = input("sums.count")
        call.labels().forEachIndexed { row, label ->
            if (label >= 0) {
                count[0]++
                for (i in 0 until dim) colour[i] += query[row * dim + i]
            }
        }
        return mapOf("sums.count" to count, "sums.colour" to colour)
    }

    private fun update() = mapOf(
        "state.adam.step" to floatArrayOf(input("state.adam.step")[0] + 1),
        "state.prompts.e" to input("state.prompts.e").also { it[0] += input("noise")[0] * input("sums.count")[0] },
    )
}
