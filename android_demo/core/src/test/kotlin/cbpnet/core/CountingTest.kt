package cbpnet.core

import kotlin.math.sqrt
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Test

class CountingTest {
    private fun sums(scores: List<Float>) = mapOf(
        "count" to number(scores.size.toFloat()),
        "unknown" to FloatTensor(floatArrayOf(scores.sum(), scores.sumOf { it.toDouble() * it }.toFloat()), listOf(2)),
    )

    /** Cornish and Fisher: t is about z + (z^3 + z) / (4 n), with n degrees of freedom. */
    @Test
    fun theThresholdIsAQuantileOfTheNextScore() {
        val scores = listOf(1f, 2f, 4f, 7f, 11f)
        val mean = scores.average()
        val deviation = sqrt(scores.sumOf { (it - mean) * (it - mean) } / 4)
        val t = 1.4 + (1.4 * 1.4 * 1.4 + 1.4) / (4 * 4)
        assertEquals(mean + t * deviation * sqrt(1 + 1 / 5.0), unknownThreshold(sums(scores)).toDouble(), 1e-4)
        assertEquals(3f, unknownThreshold(sums(List(9) { 3f })), 1e-5f)
        assertEquals(Float.POSITIVE_INFINITY, unknownThreshold(sums(listOf(3f))), 0f)
    }

    /** Of more features than classes the map comes in several calls. */
    @Test
    fun theLinearMapIsWhatAnAdaptationMakesOfEveryUnit() {
        val learner = OnePassProgram(FakeOnePassBundle(classes = 2).program())
        val pairs = learner.compare(listOf(floatArrayOf(1f, 2f, 3f)), listOf(floatArrayOf(1.5f, 2f, 2f)))
        val kept = pairs + ("count" to FloatTensor(floatArrayOf(9f, 0f), listOf(2)))
        val map = linearMap(learner, learner.storedState(), kept)
        val expected = listOf(listOf(1.5f, 0f, -1f), listOf(0.5f, 1f, -1f), listOf(0.5f, 0f, 0f))
        assertEquals(listOf(3, 3), map.shape)
        for ((row, wanted) in rows(map).zip(expected)) assertArrayEquals(wanted.toFloatArray(), row, 1e-6f)
    }

    /** In place of a prior by the largest number of its row, less the doubt of one that is not 1. */
    @Test
    fun whatIsNotRememberedIsAddedTo() {
        val learner = OnePassProgram(FakeOnePassBundle().program())
        val known = learner.observe(learner.storedState(), List(2) { floatArrayOf(1f, 1f, it.toFloat()) }, listOf(0, 0))
        val lesson = LessonRows(List(2) { floatArrayOf(1f, 1f, it.toFloat()) }, listOf(0, 0), listOf(1uL, 2uL))
        val before = Remembered(
            listOf(lesson), FloatTensor(floatArrayOf(0f, 4f, -3f, -3f, 0f, -50f), listOf(3, 2)),
            FloatTensor(floatArrayOf(1f, 9f), listOf(2)),
        )
        val chosen = choose(learner, known, before)
        assertEquals(listOf(-6f, -4f, -5f, -7f, -6f, -58f), chosen.getValue("readout.evidence").values.toList())
        // 8 log10(0.5)^2 is 0.72: -4.72 beats -5. Its likelihoods are -3 and -4 for each of two images.
        assertEquals(0.5f, chosen.number("readout.prior"), 0f)
        assertEquals(listOf(-5f, 1f), chosen.getValue("readout.calibration").values.toList())
        assertEquals(4f, chosen.number("readout.scale"), 0f)
    }
}
