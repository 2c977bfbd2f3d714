package cbpnet.core

import kotlin.math.sqrt
import kotlin.random.Random
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Test

class CopiesTest {
    private val random = Random(4)
    private val width = 40

    private fun draw() = FloatArray(width) { random.nextFloat() - 0.5f }

    /** A positive definite matrix that mixes features. */
    private fun inverse(): FloatTensor {
        val few = List(6) { draw() }
        val values = FloatArray(width * width) { place ->
            val (i, j) = place / width to place % width
            (if (i == j) 1f else 0f) + few.sumOf { (it[i] * it[j]).toDouble() }.toFloat()
        }
        return FloatTensor(values, listOf(width, width))
    }

    private fun product(one: FloatArray, matrix: FloatTensor, other: FloatArray): Double = one.indices.sumOf { i ->
        other.indices.sumOf { j -> one[i].toDouble() * matrix.values[i * width + j] * other[j] }
    }

    /** The formula of docs/bundle.md, pair by pair, of pictures of which some are of a burst. */
    @Test
    fun picturesNearlyAlikeOfAClassCountAndOthersDoNot() {
        val mean = FloatTensor(draw() + draw(), listOf(2, width))
        val one = draw()
        val burst = List(4) { number -> FloatArray(width) { (1 + number / 10f) * one[it] + 0.02f * random.nextFloat() } }
        val away = burst + List(3) { draw() } + burst.take(2)
        val labels = List(7) { 0 } + listOf(1, 1)
        val x = away.mapIndexed { row, d -> FloatArray(width) { d[it] + mean.values[labels[row] * width + it] } }
        val inverse = inverse()
        val found = countCopies(LessonRows(x, labels, List(9) { it.toULong() }), mean, inverse)
        for (row in away.indices) {
            val own = product(away[row], inverse, away[row])
            val expected = 1 + away.indices.filter { it != row && labels[it] == labels[row] }.sumOf { other ->
                val both = product(away[row], inverse, away[other])
                val cosine = both / sqrt(own * product(away[other], inverse, away[other]))
                if (cosine > 5 / sqrt(width.toDouble())) minOf(both / own, 1.0) else 0.0
            }
            assertEquals(expected, found[row].toDouble(), 1e-4)
        }
        assertTrue(found.take(4).all { it > 3 } && found.subList(4, 7).all { it == 1f } && found[8] > 1.5f)
    }

    @Test
    fun aPictureAtTheMeanIsLikeNone() {
        val mean = FloatTensor(draw(), listOf(1, width))
        val lesson = LessonRows(List(2) { mean.values }, listOf(0, 0), listOf(1uL, 2uL))
        assertEquals(listOf(1f, 1f), countCopies(lesson, mean, inverse()))
    }
}
