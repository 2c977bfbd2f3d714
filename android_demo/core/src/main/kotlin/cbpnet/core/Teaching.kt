package cbpnet.core

/**
 * How long, and in what portions, a task is trained.
 *
 * @property epochs passes over the pictures.
 * @property batchSize pictures of a step.
 * @throws IllegalArgumentException one of them is below 1.
 */
public data class TrainingSettings(val epochs: Int = 5, val batchSize: Int = 10) {
    init {
        require(epochs >= 1 && batchSize >= 1) { "epochs is $epochs and batchSize $batchSize; both must be at least 1" }
    }
}

/** A prepared image, its query features [D] and its class number. */
internal class Example(val image: RgbImage, val query: FloatArray, val label: Int)

/**
 * The state after learning a task: observe each image once, begin the task, train for some epochs.
 *
 * @param trained is told, after each step, how many images it took.
 * @param checkCancelled is called before every method; what it throws ends the lesson.
 */
internal fun learnTask(
    learner: BundleLearner,
    start: State,
    task: Int,
    examples: List<Example>,
    settings: TrainingSettings,
    random: RandomNumbers,
    trained: (images: Int) -> Unit,
    checkCancelled: () -> Unit,
): State {
    checkCancelled()
    val observed = learner.observe(start, examples.map { it.query }, examples.map { it.label })
    var state = learner.beginTask(observed, task, examples.map { it.label }.toSet())
    repeat(settings.epochs) {
        val order = random.permutation(examples.size).map(examples::get)
        for (batch in order.chunked(settings.batchSize)) {
            val sums = batch.chunked(learner.microBatch).fold(learner.zeroSums()) { sums, part ->
                checkCancelled()
                learner.gradients(state, part, sums)
            }
            checkCancelled()
            state = learner.update(state, sums, random)
            trained(batch.size)
        }
    }
    return state
}
