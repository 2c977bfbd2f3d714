package cbpnet.core

import kotlin.math.PI
import kotlin.math.cos

/**
 * How long, and in what portions, prompts are trained.
 *
 * @property epochs passes over the pictures; null leaves it to the bundle.
 * @property batchSize pictures of a step.
 * @throws IllegalArgumentException one of them is below 1.
 */
public data class TrainingSettings(val epochs: Int? = null, val batchSize: Int = 10) {
    init {
        require((epochs ?: 1) >= 1 && batchSize >= 1) {
            "epochs is $epochs and batchSize $batchSize; both must be at least 1"
        }
    }
}

/**
 * The steps of a training.
 *
 * @property epochs passes over the pictures.
 * @property batchSize pictures of a step.
 * @property finalRate the share to which the learning rates fall by a cosine.
 */
internal class Schedule(val epochs: Int, val batchSize: Int, private val finalRate: Double) {
    /** The number of steps with so many images. */
    fun steps(images: Int): Int = epochs * ((images + batchSize - 1) / batchSize)

    /** What multiplies the learning rates where a share [done] of the steps is made. */
    fun rate(done: Double): Float = (finalRate + (1 - finalRate) * (1 + cos(PI * done)) / 2).toFloat()

    companion object {
        /** What a person has set, and otherwise the bundle's own. */
        fun of(bundle: LearnerSettings, wanted: TrainingSettings): Schedule =
            Schedule(wanted.epochs ?: bundle.epochs, wanted.batchSize, bundle.finalRate)
    }
}

/**
 * The state after all steps on some images.
 *
 * @param order draws the images' order, [units] fresh units.
 * @param trained is told, after each step, how many images it took.
 */
internal fun train(
    learner: ProgramSteps,
    start: State,
    examples: List<Example>,
    schedule: Schedule,
    order: RandomStream,
    units: RandomStream,
    trained: (images: Int) -> Unit,
): State {
    val steps = schedule.steps(examples.size)
    var state = start
    var done = 0
    repeat(schedule.epochs) {
        val shuffled = order.permutation(examples.size).map(examples::get)
        for (batch in shuffled.chunked(schedule.batchSize)) {
            order.uniform(batch.size) // which images would be mirrored
            val sums = batch.chunked(learner.microBatch).fold(learner.zeroSums()) { sums, part ->
                learner.gradients(state, part, sums)
            }
            state = learner.update(state, sums, units, schedule.rate(done.toDouble() / steps))
            done++
            trained(batch.size)
        }
    }
    return state
}
