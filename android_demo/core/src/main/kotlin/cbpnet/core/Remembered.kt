package cbpnet.core

import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.security.MessageDigest

/** Images that are judged, of all that are remembered. */
private const val SAMPLE = 200

/** A lesson's features [x] as they are counted, its [labels], and the [keys] of its images. */
internal class LessonRows(val x: List<FloatArray>, val labels: List<Int>, val keys: List<ULong>)

/**
 * The lessons that are remembered, by today's features.
 *
 * @property evidence what counted images that are not remembered said of priors and scales, and
 *   [calibration] of scales.
 */
internal class Remembered(
    val lessons: List<LessonRows>,
    val evidence: FloatTensor,
    val calibration: FloatTensor,
) {
    /** These lessons and another one. */
    fun joined(lesson: LessonRows): Remembered = Remembered(lessons + lesson, evidence, calibration)

    /** The lessons with their features times a matrix [F, F]. */
    fun mapped(matrix: FloatTensor): Remembered {
        val mapped = lessons.map { LessonRows(times(it.x, matrix).map(::asCounted), it.labels, it.keys) }
        return Remembered(mapped, evidence, calibration)
    }

    /** Which rows of each lesson are judged: those with the smallest keys of all, whatever the order of lessons. */
    fun sampled(): List<List<Int>> {
        val chosen = sampleOf(lessons.flatMap { it.keys }, lessons.flatMap { it.labels })
        var start = 0
        return lessons.map { lesson ->
            chosen.map { it - start }.filter { it in lesson.labels.indices }.also { start += lesson.labels.size }
        }
    }

    companion object {
        /** No lesson, and what a state's images said when they were learnt. */
        fun nothing(state: State): Remembered =
            Remembered(emptyList(), state.getValue("readout.evidence"), state.getValue("readout.calibration"))
    }
}

/** The places, in order, of the images with the smallest keys. */
internal fun sampleOf(keys: List<ULong>, labels: List<Int>, most: Int = SAMPLE): List<Int> =
    keys.indices.sortedWith(compareBy({ keys[it] }, { labels[it] })).take(most).sorted()

/** A number that a prepared image's pixels give: the first 8 bytes of their SHA-256, little-endian. */
internal fun pictureKey(image: RgbImage): ULong {
    val digest = MessageDigest.getInstance("SHA-256").digest(image.pixels)
    return ByteBuffer.wrap(digest).order(ByteOrder.LITTLE_ENDIAN).getLong().toULong()
}

/** Rows times a matrix. */
internal fun times(rows: List<FloatArray>, matrix: FloatTensor): List<FloatArray> {
    val width = matrix.shape[1]
    return rows.map { row ->
        val product = FloatArray(width)
        for ((k, value) in row.withIndex()) {
            val start = k * width
            for (i in 0 until width) product[i] += value * matrix.values[start + i]
        }
        product
    }
}
