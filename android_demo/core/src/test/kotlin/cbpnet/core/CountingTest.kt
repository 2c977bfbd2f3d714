package cbpnet.core

import java.math.BigInteger
import java.security.MessageDigest
import kotlin.math.sqrt
import kotlin.random.Random
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
        val t = 1.5 + (1.5 * 1.5 * 1.5 + 1.5) / (4 * 4)
        assertEquals(mean + t * deviation * sqrt(1 + 1 / 5.0), unknownThreshold(sums(scores)).toDouble(), 1e-4)
        assertEquals(3f, unknownThreshold(sums(List(9) { 3f })), 1e-5f)
        assertEquals(Float.POSITIVE_INFINITY, unknownThreshold(sums(listOf(3f))), 0f)
    }

    @Test
    fun aPicturesKeyIsTheBeginningOfItsHashAsALittleEndianNumber() {
        val image = reds(1)[0].image()
        val digest = MessageDigest.getInstance("SHA-256").digest(image.pixels)
        val expected = BigInteger(1, digest.copyOf(8).reversedArray())
        assertEquals(expected.toString(), pictureKey(image).toString())
    }

    @Test
    fun theSampleIsOfTheSmallestKeysWithoutSigns() {
        val keys = listOf(ULong.MAX_VALUE, 5uL, 1uL shl 63, 5uL, 3uL)
        assertEquals(listOf(1, 3, 4), sampleOf(keys, List(5) { 0 }, most = 3))
        assertEquals(listOf(3, 4), sampleOf(keys, listOf(0, 2, 0, 1, 0), most = 2)) // of the same key by label
        assertEquals(listOf(1, 2, 3, 4), sampleOf(keys, List(5) { 0 }, most = 4))
    }

    @Test
    fun twoHundredImagesChoose() {
        val random = Random(1)
        val keys = List(500) { random.nextLong().toULong() }
        val all = Remembered(keys.map { floatArrayOf(it.toFloat()) }, List(500) { it }, keys, number(0f))
        val sample = all.sample()
        assertEquals(keys.sortedBy { BigInteger(it.toString()) }.take(200).toSet(), sample.keys.toSet())
        assertEquals(sample.labels.sorted(), sample.labels)
        assertEquals(sample.keys, sample.labels.map(keys::get))
        assertEquals(sample.keys.map { it.toFloat() }, sample.x.map { it.single() })
    }

    /** More rows than classes go through the map in several calls. */
    @Test
    fun featuresAreCarriedAsTheMapOfTheAdaptationSays() {
        val bundle = FakeOnePassBundle()
        val learner = OnePassProgram(bundle.program())
        val pairs = learner.compare(listOf(floatArrayOf(1f, 2f, 3f)), listOf(floatArrayOf(1.5f, 2f, 2f)))
        val kept = pairs + ("count" to FloatTensor(floatArrayOf(9f, 0f, 0f, 0f), listOf(4)))
        val x = List(6) { floatArrayOf(it + 1f, 1f, 1f) }
        val found = carriedFeatures(learner, learner.storedState(), kept, x)
        for ((row, carried) in found.withIndex()) {
            assertEquals(listOf(row + 1.5f, 1f, 0f), carried.toList().map { Math.round(it * 1000) / 1000f })
        }
        assertEquals(6, found.size)
    }
}
