package cbpnet.core

import java.math.BigInteger
import java.security.MessageDigest
import kotlin.random.Random
import org.junit.Assert.assertEquals
import org.junit.Test

class RememberedTest {
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
    fun twoHundredOfAllLessonsAreJudged() {
        val random = Random(1)
        val keys = List(500) { random.nextLong().toULong() }
        val state = mapOf("readout.evidence" to number(0f), "readout.calibration" to number(0f))
        val all = keys.chunked(130).fold(Remembered.nothing(state)) { before, few ->
            before.joined(LessonRows(few.map { floatArrayOf(1f) }, few.map { 0 }, few))
        }
        val found = all.lessons.zip(all.sampled()).map { (lesson, rows) -> rows.map(lesson.keys::get) }
        val expected = keys.sortedBy { BigInteger(it.toString()) }.take(200).toSet()
        assertEquals(keys.chunked(130).map { few -> few.filter { it in expected } }, found)
    }

    @Test
    fun featuresGoThroughAMatrixAndAreRounded() {
        val random = Random(2)
        val x = List(5) { FloatArray(4) { random.nextFloat() - 0.5f } }
        val matrix = FloatTensor(FloatArray(16) { random.nextFloat() - 0.5f }, listOf(4, 4))
        val lesson = LessonRows(x, List(5) { it }, List(5) { it.toULong() })
        val mapped = Remembered(listOf(lesson), number(0f), number(0f)).mapped(matrix).lessons.single()
        for ((row, before) in mapped.x.zip(x)) {
            for (i in 0 until 4) {
                val exact = (0 until 4).sumOf { before[it].toDouble() * matrix.values[4 * it + i] }
                assertEquals(exact, row[i].toDouble(), 5e-4)
                assertEquals(row[i], float(half(row[i])), 0f)
            }
        }
        assertEquals(lesson.labels to lesson.keys, mapped.labels to mapped.keys)
    }
}
