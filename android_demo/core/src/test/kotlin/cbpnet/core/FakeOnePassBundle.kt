package cbpnet.core

/**
 * A fake bundle of the one-pass learner: a class is the mean colour of its images, moved by a prompt.
 *
 * An adaptation counts its rates up in the prompt, and [confidence] is the classifier's, which is
 * not there where it is null. The likeliest prior is the second of three, and the likeliest scale
 * the first of two. The share of right answers is [accuracy]. How unlike anything known an image is, is
 * its distance from the nearest mean; left out, the images of a class score as many as they are.
 */
internal class FakeOnePassBundle(
    kind: String = "auto",
    private val confidence: Float? = 0.1f,
    private val accuracy: Float = 0.5f,
    microBatch: Int = 2,
    classes: Int = 4,
    tasks: Int = 1,
    weights: String = "0123456789abcdef",
    fewestClasses: Int = 2,
) : FakeProgram(microBatch, classes, tasks, weights) {
    override val config = """{"readout": {"kind": "whitened", "priors": [0.5, 1.0, 2.0], "scales": [0.25, 4.0]},
        "adaptation": {"kind": "$kind", "fewest_classes": $fewestClasses, "share": 0.25, "confidence": 0.25,
            "accuracy": 0.85, "epochs": 2, "final_rate": 0.5}}"""
    private val prompt = listOf(1, 2, 1, DIM)
    override val state = linkedMapOf(
        "prompts.g" to StateTensor(prompt, null),
        "classes.count" to StateTensor(listOf(classes), Counted.CLASSES),
        "classes.mean" to StateTensor(listOf(classes, DIM), Counted.CLASSES),
        "classes.scatter" to StateTensor(listOf(DIM, DIM), null),
        "readout.weight" to StateTensor(listOf(classes, DIM), Counted.CLASSES),
        "readout.bias" to StateTensor(listOf(classes), Counted.CLASSES),
        "readout.evidence" to StateTensor(listOf(3, 2), null),
        "readout.calibration" to StateTensor(listOf(2), null),
        "readout.prior" to StateTensor(listOf(1), null),
        "readout.scale" to StateTensor(listOf(1), null),
        "unknown.threshold" to StateTensor(listOf(1), null),
        "lessons.count" to StateTensor(listOf(1), null),
        "lessons.adapted" to StateTensor(listOf(1), null),
    )
    override val adaptation = linkedMapOf(
        "prompts.g" to StateTensor(prompt, null),
        "adam.step" to StateTensor(listOf(1), null),
    )
    private val images = "images" to listOf(microBatch, 3, SIZE, SIZE)
    private val labels = "labels" to listOf(microBatch)
    private val x = "x" to listOf(microBatch, DIM)
    private val counted = mapOf("x" to listOf(ROWS, DIM), "labels" to listOf(ROWS))
    private val members = "members" to listOf(classes)
    private val metric = mapOf("inverse" to listOf(DIM, DIM), "projected" to listOf(classes, DIM))
    private val evidence = mapOf(
        "sums.right" to listOf(1), "sums.count" to listOf(1), "sums.likelihood" to listOf(2), "sums.unknown" to listOf(2),
    )
    private val trained = adaptation.mapValues { it.value.shape }.prefixed("adaptation.")
    private val sum = mapOf("sums.count" to listOf(1))
    private val drift = mapOf(
        "drift.moved" to listOf(DIM), "drift.pairs" to listOf(1), "drift.count" to listOf(classes),
        "drift.before" to listOf(classes, DIM), "drift.after" to listOf(classes, DIM),
    )

    override val methods = mapOf(
        "initial_state" to (emptyMap<String, List<Int>>() to states(*state.keys.toTypedArray())),
        "features" to (
            mapOf(images) + states("prompts.g") to
                mapOf(x) + if (confidence == null) emptyMap() else mapOf("confidence" to listOf(microBatch))
            ),
        "observe" to (counted + states(*SEEN) to states(*SEEN)),
        "solve" to (
            mapOf("prior" to listOf(1), "scale" to listOf(1)) + states(*SEEN) to
                metric + states("readout.weight", "readout.bias", "readout.prior", "readout.scale")
            ),
        "leave_one_out" to (counted + mapOf(members, "copies" to listOf(ROWS)) + metric + states("classes.count") + evidence to evidence),
        "predict" to (
            mapOf(x) + states("readout.weight", "readout.bias", "classes.count", "classes.mean") to mapOf(
                "scores" to listOf(microBatch, classes), "probabilities" to listOf(microBatch, classes),
                "unknown" to listOf(microBatch),
            )
            ),
        "begin_task" to (mapOf(members) + states("prompts.g") to trained),
        "gradients" to (mapOf(images, labels, "adaptation.prompts.g" to prompt) + sum to sum),
        "update" to (mapOf("rate" to listOf(1)) + trained + sum to trained),
        "compare" to (
            mapOf("before" to listOf(ROWS, DIM), "after" to listOf(ROWS, DIM), "weight" to listOf(ROWS)) +
                mapOf("labels" to listOf(ROWS)) + drift to drift
            ),
        "carry" to (drift + states("classes.mean", "classes.count") to states("classes.mean")),
    )

    override fun answer(call: Call): Map<String, FloatArray> = when (call.method) {
        "initial_state" -> state.entries.associate { (name, tensor) -> "state.$name" to initial(name, tensor.shape) }
        "features" -> features(call)
        "observe" -> observed(call, "x")
        "solve" -> solve(call)
        "leave_one_out" -> leaveOneOut(call)
        "predict" -> predict(call)
        "begin_task" ->
            mapOf("adaptation.prompts.g" to call.input("state.prompts.g"), "adaptation.adam.step" to floatArrayOf(0f))
        "gradients" ->
            mapOf("sums.count" to floatArrayOf(call.input("sums.count")[0] + call.labels().count { it >= 0 }))
        "update" -> mapOf(
            "adaptation.prompts.g" to call.input("adaptation.prompts.g").also { it[0] += call.input("rate")[0] },
            "adaptation.adam.step" to floatArrayOf(call.input("adaptation.adam.step")[0] + 1),
        )
        "compare" -> compare(call)
        else -> carry(call)
    }

    private fun initial(name: String, shape: List<Int>) = FloatArray(elements(shape)) {
        when (name) {
            "readout.prior", "readout.scale" -> 1f
            "unknown.threshold" -> Float.POSITIVE_INFINITY
            else -> 0f
        }
    }

    private fun features(call: Call): Map<String, FloatArray> {
        val found = colours(call)
        val moved = call.input("state.prompts.g")
        for (i in found.indices) found[i] += moved[i % DIM]
        return mapOf("x" to found, "confidence" to FloatArray(found.size / DIM) { confidence ?: 0f })
    }

    /** The nearest mean, which is linear. */
    private fun solve(call: Call): Map<String, FloatArray> {
        val mean = call.input("state.classes.mean")
        val prior = call.input("prior")
        val length = mean.toList().chunked(DIM).map { row -> row.sumOf { (it * it).toDouble() }.toFloat() }
        return mapOf(
            "inverse" to FloatArray(DIM * DIM) { prior[0] },
            "projected" to mean,
            "state.readout.weight" to FloatArray(mean.size) { 2 * mean[it] },
            "state.readout.bias" to FloatArray(length.size) { -length[it] },
            "state.readout.prior" to prior,
            "state.readout.scale" to call.input("scale"),
        )
    }

    private fun leaveOneOut(call: Call): Map<String, FloatArray> {
        val count = call.input("state.classes.count")
        val scores = call.labels().filter { it >= 0 && count[it.toInt()] >= 2 }.map { count[it.toInt()] }
        val added = scores.size
        val likelihood = if (call.input("inverse")[0] == 1f) floatArrayOf(-1f, -2f) else floatArrayOf(-3f, -4f)
        return mapOf(
            "sums.right" to floatArrayOf(call.input("sums.right")[0] + accuracy * added),
            "sums.count" to floatArrayOf(call.input("sums.count")[0] + added),
            "sums.likelihood" to
                call.input("sums.likelihood").also { for (i in it.indices) it[i] += added * likelihood[i] },
            "sums.unknown" to call.input("sums.unknown").also {
                it[0] += scores.sum()
                it[1] += scores.sumOf { score -> (score * score).toDouble() }.toFloat()
            },
        )
    }

    private fun predict(call: Call): Map<String, FloatArray> {
        val x = call.input("x").toList().chunked(DIM)
        val weight = call.input("state.readout.weight").toList().chunked(DIM)
        val bias = call.input("state.readout.bias")
        val count = call.input("state.classes.count")
        val scores = x.flatMap { row ->
            weight.indices.map { c ->
                if (count[c] == 0f) Float.NEGATIVE_INFINITY else row.zip(weight[c], Float::times).sum() + bias[c]
            }
        }.toFloatArray()
        val means = call.input("state.classes.mean").toList().chunked(DIM).filterIndexed { c, _ -> count[c] > 0 }
        val unknown = x.map { row -> means.minOf { mean -> row.zip(mean) { a, b -> (a - b) * (a - b) }.sum() } }
        return mapOf(
            "scores" to scores, "probabilities" to FloatArray(scores.size), "unknown" to unknown.toFloatArray(),
        )
    }

    private fun compare(call: Call): Map<String, FloatArray> {
        val (before, after, weight) = listOf("before", "after", "weight").map(call::input)
        val moved = call.input("drift.moved")
        for (i in before.indices) moved[i % DIM] += weight[i / DIM] * (after[i] - before[i])
        return mapOf(
            "drift.moved" to moved,
            "drift.pairs" to floatArrayOf(call.input("drift.pairs")[0] + weight.sum()),
        ) + listOf("drift.count", "drift.before", "drift.after").associateWith(call::input)
    }

    /** Means move as the pairs did, those of classes with kept pictures as these; zeros stay, as under a linear map. */
    private fun carry(call: Call): Map<String, FloatArray> {
        val mean = call.input("state.classes.mean")
        val moved = call.input("drift.moved")
        val pairs = call.input("drift.pairs")[0]
        val (kept, before, after) = listOf("count", "before", "after").map { call.input("drift.$it") }
        for (c in mean.indices step DIM) {
            if ((c until c + DIM).all { mean[it] == 0f }) continue
            for (i in c until c + DIM) {
                mean[i] += if (kept[c / DIM] > 0) (after[i] - before[i]) / kept[c / DIM] else moved[i - c] / pairs
            }
        }
        return mapOf("state.classes.mean" to mean)
    }

    private companion object {
        val SEEN = arrayOf("classes.count", "classes.mean")
        const val ROWS = 3 // that are counted in one call, whatever the micro-batch
    }
}
