package cbpnet.core

/**
 * A bundle's program as the paper's learner, of batches of any size.
 *
 * Images are [B] prepared ones, queries B rows [D], labels class numbers.
 */
internal class TaskProgram(private val program: Program) {
    private val manifest = program.manifest
    private val batches = Batches(manifest)

    /** What trains a task that has been begun. */
    val steps = ProgramSteps(program, STATE)

    /** The state that the bundle was exported with: what a server learnt, or nothing. */
    fun storedState(): State = unprefixed(STATE, program.call("initial_state", emptyMap()))

    /** The query features of images. */
    fun query(images: List<RgbImage>): List<FloatArray> = images.chunked(batches.size).flatMap { part ->
        rows(program.call("query", mapOf("images" to batches.images(part))).float("query")).take(part.size)
    }

    /** The state with images counted into class means and readout. */
    fun observe(state: State, query: List<FloatArray>, labels: List<Int>): State =
        query.zip(labels).chunked(batches.size).fold(state) { before, part ->
            val inputs = mapOf(
                "query" to batches.features(part.map { it.first }),
                "labels" to batches.labels(part.map { it.second }),
            )
            changed("observe", before, inputs)
        }

    /** The state ready to learn a task of which the images have been observed. */
    fun beginTask(state: State, task: Int, members: Set<Int>): State {
        val inputs = mapOf("task" to number(task.toFloat()), "members" to marks(members, manifest.classes))
        return changed("begin_task", state, inputs)
    }

    /** What images are taken for. */
    fun predict(state: State, images: List<RgbImage>, query: List<FloatArray>): List<Answer> =
        images.zip(query).chunked(batches.size).flatMap { part ->
            val inputs = prefixed(STATE, state) + mapOf(
                "images" to batches.images(part.map { it.first }),
                "query" to batches.features(part.map { it.second }),
            )
            val found = program.call("predict", inputs)
            rows(found.float("scores")).zip(rows(found.float("task"))).take(part.size).map { (scores, task) ->
                Answer(scores, task.indexOfFirst { it == 1f }.takeIf { it >= 0 }, unlikeness = null)
            }
        }

    private fun changed(method: String, state: State, inputs: Map<String, Tensor>): State =
        state + unprefixed(STATE, program.call(method, prefixed(STATE, state) + inputs))
}
