package cbpnet.core

import kotlin.math.abs
import kotlin.math.pow
import kotlin.random.Random
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Test

class HalfTest {
    /** Every finite number of fp16 by IEEE 754's formula, by its bits. */
    private val finite = (0..0xFFFF).filter { it shr 10 and 31 != 31 }.associateWith { bits ->
        val exponent = bits shr 10 and 31
        val fraction = (bits and 1023) / 1024.0
        val size = if (exponent == 0) fraction * 2.0.pow(-14) else (1 + fraction) * 2.0.pow(exponent - 15)
        if (bits shr 15 == 1) -size else size
    }

    @Test
    fun everyNumberOfFp16IsItself() {
        for ((bits, value) in finite) {
            assertEquals(value, float(bits.toShort()).toDouble(), 0.0)
            assertEquals(bits, half(value.toFloat()).toInt() and 0xFFFF)
        }
        assertEquals(Float.NEGATIVE_INFINITY, float(0xFC00.toShort()), 0f)
        assertTrue(float(half(Float.NaN)).isNaN())
    }

    /** Between two neighbours: the nearer one, in the middle the one whose last bit is 0. */
    @Test
    fun whatLiesBetweenIsRoundedToTheNearestAndTiesToEven() {
        for (lower in 0 until 0x7BFF) {
            val (low, high) = listOf(lower, lower + 1).map(finite::getValue)
            val even = if (lower % 2 == 0) low else high
            val middle = ((low + high) / 2).toFloat()
            for (sign in listOf(1, -1)) {
                assertEquals(sign * even, rounded(sign * middle), 0.0)
                assertEquals(sign * low, rounded(sign * Math.nextDown(middle)), 0.0)
                assertEquals(sign * high, rounded(sign * Math.nextUp(middle)), 0.0)
            }
        }
    }

    @Test
    fun whatIsTooLargeIsTheLargestAndAnyOtherNumberTheNearest() {
        for (large in listOf(65504.1f, 1e9f, Float.POSITIVE_INFINITY)) {
            assertEquals(listOf(65504.0, -65504.0), listOf(rounded(large), rounded(-large)))
        }
        val random = Random(3)
        repeat(200) {
            val value = (random.nextFloat() - 0.5f) * 10f.pow(random.nextInt(-9, 5))
            val nearest = finite.values.minOf { abs(it - value) }
            assertEquals(nearest, abs(rounded(value) - value), 0.0)
        }
    }

    @Test
    fun rowsComeBackRounded() {
        val rows = HalfRows.of(listOf(floatArrayOf(1f, 0.1f), floatArrayOf(-3f, 70000f)))
        assertEquals(listOf(2, 2), listOf(rows.size, rows.width))
        assertEquals(listOf(-3f, 65504f), rows.row(1).toList())
        assertEquals(asCounted(floatArrayOf(1f, 0.1f)).toList(), rows.row(0).toList())
    }

    private fun rounded(value: Float) = float(half(value)).toDouble()
}
