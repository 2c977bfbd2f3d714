package cbpnet.core

import kotlin.math.exp

/** A class and its probability, in [0, 1]; that of a one-pass bundle is calibrated by leave-one-out. */
public data class RankedClass(val label: String, val probability: Double)

/**
 * How unlike anything known an image is.
 *
 * @property score the larger, the less alike.
 * @property threshold what the scores of known images are mostly below; infinite while that is not known.
 */
public data class Unlikeness(val score: Float, val threshold: Float) {
    /** Whether the image is like nothing that is known. */
    val isUnknown: Boolean get() = score > threshold
}

/**
 * What an image was taken for.
 *
 * @property ranking every known class, the best first.
 * @property task the number, counted from 1, of the task of which the prompt was used; null for a
 *   learner without prompts.
 * @property unlikeness whether it is like any class at all; null for a learner that cannot say.
 */
public class Prediction internal constructor(
    public val ranking: List<RankedClass>,
    public val task: Int?,
    public val unlikeness: Unlikeness?,
) {
    /** The best class. */
    public val best: RankedClass get() = ranking.first()
}

/** What a bundle says of an image: [scores] [C], -inf for unknown classes, and the [task], counted from 0. */
internal class Answer(val scores: FloatArray, val task: Int?, val unlikeness: Unlikeness?)

/** The prediction of an answer, of which the first classes have [names]. */
internal fun rank(answer: Answer, names: List<String>): Prediction {
    val scores = answer.scores
    val highest = names.indices.maxOf { scores[it] }
    val shares = names.indices.map { exp((scores[it] - highest).toDouble()) }
    val ranking = names.zip(shares) { name, share -> RankedClass(name, share / shares.sum()) }
    return Prediction(ranking.sortedByDescending { it.probability }, answer.task?.plus(1), answer.unlikeness)
}
