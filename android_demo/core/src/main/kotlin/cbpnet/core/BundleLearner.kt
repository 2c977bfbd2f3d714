package cbpnet.core

/** The tensors of a learner's state, by name. */
internal typealias State = Map<String, FloatTensor>

/** The scores [B][C] of images, -inf for unknown classes, and each one's task, or null without prompts. */
internal class Scores(val scores: List<FloatArray>, val tasks: List<Int?>)

/**
 * A bundle's program as a learner of batches of any size.
 *
 * A program takes m images at a time; here more are split, and fewer filled up by repeating the last
 * with the label of padding. Images are [B] prepared ones, queries B rows [D], labels class numbers.
 */
internal class BundleLearner(private val program: Program) {
    private val manifest = program.manifest
    private val normaliser = Normaliser(manifest.preprocessing)

    /** Images m of a call. */
    val microBatch: Int = manifest.microBatch

    /** The state that the bundle was exported with: what a server learnt, or nothing. */
    fun storedState(): State = unprefixed(STATE, program.call("initial_state", emptyMap()))

    /** The query features of images. */
    fun query(images: List<RgbImage>): List<FloatArray> = images.chunked(microBatch).flatMap { part ->
        rows(program.call("query", mapOf("images" to pixels(part))).float("query")).take(part.size)
    }

    /** The state with images counted into class means and readout. */
    fun observe(state: State, query: List<FloatArray>, labels: List<Int>): State =
        query.zip(labels).chunked(microBatch).fold(state) { before, part ->
            changed("observe", before, features(part.map { it.first }) + labels(part.map { it.second }))
        }

    /** The state ready to learn a task of which the images have been observed. */
    fun beginTask(state: State, task: Int, members: Set<Int>): State {
        val marks = FloatArray(manifest.classes) { if (it in members) 1f else 0f }
        val inputs = mapOf(
            "task" to FloatTensor(floatArrayOf(task.toFloat()), listOf(1)),
            "members" to FloatTensor(marks, listOf(marks.size)),
        )
        return changed("begin_task", state, inputs)
    }

    /** The classes' scores. */
    fun predict(state: State, images: List<RgbImage>, query: List<FloatArray>): Scores {
        val answers = images.zip(query).chunked(microBatch).flatMap { part ->
            val inputs = prefixed(STATE, state) + mapOf("images" to pixels(part.map { it.first }))
            val answer = program.call("predict", inputs + features(part.map { it.second }))
            rows(answer.float("scores")).zip(rows(answer.float("task"))).take(part.size)
        }
        val tasks = answers.map { (_, task) -> task.indexOfFirst { it == 1f }.takeIf { it >= 0 } }
        return Scores(answers.map { it.first }, tasks)
    }

    /** Gradient sums of no images. */
    fun zeroSums(): State = manifest.method("gradients").outputs.associate {
        it.name.removePrefix(SUMS) to FloatTensor.zeros(it.shape)
    }

    /** The sums with at most m images of the current task added. */
    fun gradients(state: State, examples: List<Example>, sums: State): State {
        val batch = mapOf("images" to pixels(examples.map { it.image })) + features(examples.map { it.query }) +
            labels(examples.map { it.label })
        return unprefixed(SUMS, program.call("gradients", prefixed(STATE, state) + prefixed(SUMS, sums) + batch))
    }

    /** The state after one step. */
    fun update(state: State, sums: State, random: RandomNumbers): State {
        val shape = manifest.method("update").inputs.first { it.name == "noise" }.shape
        val inputs = mapOf(
            "noise" to FloatTensor(random.uniform(elements(shape)), shape),
            "rate" to FloatTensor(floatArrayOf(1f), listOf(1)),
        )
        return changed("update", state, prefixed(SUMS, sums) + inputs)
    }

    private fun changed(method: String, state: State, inputs: Map<String, Tensor>): State =
        state + unprefixed(STATE, program.call(method, prefixed(STATE, state) + inputs))

    private fun pixels(images: List<RgbImage>) = normaliser.tensor(padded(images))

    private fun features(query: List<FloatArray>): Map<String, Tensor> {
        val values = FloatArray(microBatch * manifest.backbone.dim)
        padded(query).forEachIndexed { row, feature -> feature.copyInto(values, row * feature.size) }
        return mapOf("query" to FloatTensor(values, listOf(microBatch, manifest.backbone.dim)))
    }

    private fun labels(labels: List<Int>): Map<String, Tensor> {
        val values = LongArray(microBatch) { labels.getOrElse(it) { PADDING }.toLong() }
        return mapOf("labels" to LongTensor(values, listOf(microBatch)))
    }

    private fun <T> padded(part: List<T>): List<T> = part + List(microBatch - part.size) { part.last() }

    private companion object {
        const val PADDING = -1 // a label that no class has
    }
}

private fun prefixed(prefix: String, tensors: State): Map<String, Tensor> = tensors.mapKeys { prefix + it.key }

private fun unprefixed(prefix: String, tensors: Map<String, Tensor>): State =
    tensors.keys.associate { it.removePrefix(prefix) to tensors.float(it) }

private fun Map<String, Tensor>.float(name: String): FloatTensor = getValue(name) as FloatTensor

/** The rows of a matrix. */
private fun rows(matrix: FloatTensor): List<FloatArray> {
    val (rows, columns) = matrix.shape
    return List(rows) { matrix.values.copyOfRange(it * columns, (it + 1) * columns) }
}
