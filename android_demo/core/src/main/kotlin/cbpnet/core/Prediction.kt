package cbpnet.core

import kotlin.math.exp

/** A class and its probability, in [0, 1] and not calibrated. */
public data class RankedClass(val label: String, val probability: Double)

/**
 * What an image was taken for.
 *
 * @property ranking every known class, the best first.
 * @property task the number, counted from 1, of the task of which the prompt was used; null for a
 *   learner without prompts.
 */
public class Prediction internal constructor(public val ranking: List<RankedClass>, public val task: Int?) {
    /** The best class. */
    public val best: RankedClass get() = ranking.first()
}

/** The prediction of the [scores] [C] of classes of which the first have [names]. */
internal fun rank(scores: FloatArray, task: Int?, names: List<String>): Prediction {
    val highest = names.indices.maxOf { scores[it] }
    val shares = names.indices.map { exp((scores[it] - highest).toDouble()) }
    val ranking = names.zip(shares) { name, share -> RankedClass(name, share / shares.sum()) }
    return Prediction(ranking.sortedByDescending { it.probability }, task?.plus(1))
}
