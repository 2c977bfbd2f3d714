package cbpnet.core

import kotlin.math.sqrt

private const val DEVIATIONS = 5f // of the cosine of independent directions, 1 / sqrt(F)

/**
 * How many counted images of a lesson each one is like, itself with them: those of its class, nearly alike.
 *
 * It does what `cbpnet/run/copies.py` does, by the class means [mean] [C, F] and a metric's [inverse] [F, F].
 */
internal fun countCopies(lesson: LessonRows, mean: FloatTensor, inverse: FloatTensor): List<Float> {
    val means = rows(mean)
    val away = lesson.x.mapIndexed { row, x -> FloatArray(x.size) { x[it] - means[lesson.labels[row]][it] } }
    val projected = times(away, inverse)
    val length = away.indices.map { sqrt(maxOf(dot(away[it], projected[it]), java.lang.Float.MIN_NORMAL)) }
    val copies = FloatArray(away.size) { 1f }
    for (same in away.indices.groupBy { lesson.labels[it] }.values) {
        for (one in same) {
            for (other in same) {
                val cosine = dot(away[one], projected[other]) / (length[one] * length[other])
                val isAlike = one != other && cosine > DEVIATIONS / sqrt(inverse.shape[0].toFloat())
                if (isAlike) copies[one] += minOf(cosine * length[other] / length[one], 1f)
            }
        }
    }
    return copies.toList()
}

private fun dot(one: FloatArray, other: FloatArray): Float {
    var sum = 0f
    for (i in one.indices) sum += one[i] * other[i]
    return sum
}
