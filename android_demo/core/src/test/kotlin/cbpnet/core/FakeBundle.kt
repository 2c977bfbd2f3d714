package cbpnet.core

/** A fake bundle of the paper's learner: a class is the mean colour of its images. */
internal class FakeBundle(
    microBatch: Int = 2,
    classes: Int = 4,
    tasks: Int = 2,
    weights: String = "0123456789abcdef",
) : FakeProgram(microBatch, classes, tasks, weights) {
    override val config = """{"readout": {"kind": "none", "priors": [1.0], "scales": [1.0]},
        "adaptation": {"kind": "cbpnet", "fewest_classes": 5, "share": 0.25, "confidence": 0.25, "accuracy": 0.85, "epochs": 5, "final_rate": 1.0},
        "cbp": {"replacement_rate": 0.0001, "max": Infinity}}"""
    override val state = linkedMapOf(
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
    private val layout: Shapes = state.mapValues { it.value.shape }
    private val sums = linkedMapOf("count" to listOf(1), "colour" to listOf(DIM))
    private val images = "images" to listOf(microBatch, 3, SIZE, SIZE)
    private val query = "query" to listOf(microBatch, DIM)
    private val labels = "labels" to listOf(microBatch)

    override val methods = mapOf(
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

    override fun answer(call: Call) = FakeLearner(call, layout).run()

    private companion object {
        val SEEN = arrayOf("classes.count", "classes.mean")
    }
}

/** The mathematics of [FakeBundle], one method at a time. */
private class FakeLearner(private val call: Call, private val layout: Shapes) {
    private val dim = FakeProgram.DIM

    fun run(): Map<String, FloatArray> = when (call.method) {
        "initial_state" -> initialState()
        "query" -> mapOf("query" to FakeProgram.colours(call))
        "observe" -> FakeProgram.observed(call, "query")
        "begin_task" -> beginTask()
        "predict" -> predict()
        "gradients" -> gradients()
        else -> update()
    }

    private fun input(name: String) = call.input(name)

    private fun initialState() = layout.entries.associate { (name, shape) ->
        val value = when (name) {
            "classes.task", "tasks.current" -> -1f
            "prompts.e" -> 0.5f
            else -> 0f
        }
        "state.$name" to FloatArray(elements(shape)) { value }
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
