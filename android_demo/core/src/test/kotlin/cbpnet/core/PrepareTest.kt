package cbpnet.core

import kotlin.math.abs
import kotlin.math.pow
import kotlin.math.roundToInt
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Test

/** The last word on these is conformance/, where Pillow itself is the reference. */
class PrepareTest {
    @Test
    fun anImageOfTheRightSizeIsLeftAlone() {
        val image = noise(16, 16)
        for (interpolation in Interpolation.entries) {
            assertArrayEquals(image.pixels, prepare(image, wanted(16, interpolation)).pixels)
        }
    }

    /** By hand: halving with a triangle of support 2 weighs four neighbours 1, 3, 3, 1 eighths. */
    @Test
    fun halvingALineWeighsFourNeighbours() {
        val line = intArrayOf(0, 80, 160, 240, 8, 16, 24, 32)
        val image = RgbImage(8, 8, ByteArray(8 * 8 * 3) { line[it / 3 % 8].toByte() })
        val found = prepare(image, wanted(4, Interpolation.BILINEAR))
        val row = List(4) { found.pixels[3 * it].toInt() and 0xFF }
        val edge = ((3.0 * 0 + 3 * 80 + 160) / 7).roundToInt()
        assertEquals(listOf(edge, (80 + 3 * 160 + 3 * 240 + 8) / 8, (240 + 3 * 8 + 3 * 16 + 24) / 8), row.take(3))
    }

    /** Against the filter's definition in floating point, without rounding between the directions. */
    @Test
    fun itIsTheAntialiasedFilterToWithinRounding() {
        for ((width, height, size) in listOf(Triple(61, 43, 16), Triple(20, 33, 32), Triple(100, 16, 16))) {
            // Of little contrast, so that nothing overshoots and is clipped between the directions.
            val pixels = noise(width, height).pixels
            val image = RgbImage(width, height, ByteArray(pixels.size) { (pixels[it] / 4 + 128).toByte() })
            for (interpolation in Interpolation.entries) {
                val found = prepare(image, wanted(size, interpolation))
                val expected = reference(image, size, interpolation)
                val furthest = found.pixels.indices.maxOf { abs((found.pixels[it].toInt() and 0xFF) - expected[it]) }
                assertTrue("$width x $height $interpolation: $furthest", furthest < 1.2)
            }
        }
    }

    @Test
    fun theCentreIsCutAndHalvesGoToTheEvenNumber() {
        for ((width, left) in listOf(16 to 0, 17 to 0, 18 to 1, 19 to 2, 21 to 2, 23 to 4)) {
            val image = RgbImage(width, 16, ByteArray(width * 16 * 3) { (it / 3 % width * 10).toByte() })
            val found = prepare(image, wanted(16, Interpolation.BICUBIC))
            assertEquals(left * 10, found.pixels[0].toInt() and 0xFF)
        }
    }

    @Test
    fun aMarginIsCutWhereTheBackboneWantsOne() {
        // floor(14 / 0.875) = 16 pixels remain of 16, and the outermost row and column go.
        val image = noise(16, 16)
        val found = prepare(image, wanted(14, Interpolation.BICUBIC, cropPct = 0.875))
        assertArrayEquals(image.cropped(1, 1, 14, 14).pixels, found.pixels)
    }

    @Test
    fun ofALongStripTheMiddleIsSeen() {
        val strip = noise(4, 801)
        val found = prepare(strip, wanted(4, Interpolation.BILINEAR))
        assertArrayEquals(strip.cropped(0, 384 + 14, 4, 4).pixels, found.pixels)
    }

    @Test
    fun pixelsBecomeNumbersChannelByChannel() {
        val images = listOf(noise(2, 2), RgbImage(2, 2, byteArrayOf(0, 127, -1, 1, 2, 3, 4, 5, 6, -128, -2, 9)))
        val mean = listOf(0.5f, 0.4f, 0.3f)
        val preprocessing = Preprocessing(2, mean, listOf(0.5f, 0.2f, 0.1f), Interpolation.BICUBIC, 1.0)
        val tensor = Normaliser(preprocessing).tensor(images)
        assertEquals(listOf(2, 3, 2, 2), tensor.shape)
        for ((index, image) in images.withIndex()) {
            for (place in 0 until 12) {
                val channel = place % 3
                val pixel = (image.pixels[place].toInt() and 0xFF) / 255.0
                val expected = (pixel - mean[channel]) / preprocessing.std[channel]
                assertEquals(expected, tensor.values[index * 12 + channel * 4 + place / 3].toDouble(), 1e-6)
            }
        }
    }

    private fun wanted(size: Int, interpolation: Interpolation, cropPct: Double = 1.0) =
        Preprocessing(size, listOf(0.5f, 0.5f, 0.5f), listOf(0.5f, 0.5f, 0.5f), interpolation, cropPct)

    private fun noise(width: Int, height: Int): RgbImage {
        val random = java.util.Random(1)
        return RgbImage(width, height, ByteArray(width * height * 3).also(random::nextBytes))
    }

    private fun reference(image: RgbImage, size: Int, interpolation: Interpolation): DoubleArray {
        val width = size * image.width / minOf(image.width, image.height)
        val height = size * image.height / minOf(image.width, image.height)
        val left = Math.rint((width - size) / 2.0).toInt()
        val top = Math.rint((height - size) / 2.0).toInt()
        return DoubleArray(size * size * 3) { place ->
            val channel = place % 3
            val columns = kernel(left + place / 3 % size, image.width, width, interpolation)
            val rows = kernel(top + place / 3 / size, image.height, height, interpolation)
            rows.entries.sumOf { (y, rowWeight) ->
                columns.entries.sumOf { (x, weight) ->
                    rowWeight * weight * (image.pixels[(y * image.width + x) * 3 + channel].toInt() and 0xFF)
                }
            }.coerceIn(0.0, 255.0)
        }
    }

    private fun kernel(place: Int, before: Int, length: Int, interpolation: Interpolation): Map<Int, Double> {
        val scale = before.toDouble() / length
        val stretch = maxOf(1.0, scale)
        val centre = (place + 0.5) * scale - 0.5
        val weights = (0 until before).associateWith { shape(abs(it - centre) / stretch, interpolation) }
        return weights.filterValues { it != 0.0 }.mapValues { it.value / weights.values.sum() }
    }

    private fun shape(x: Double, interpolation: Interpolation): Double = when {
        interpolation == Interpolation.BILINEAR -> maxOf(0.0, 1 - x)
        x < 1 -> 1.5 * x.pow(3) - 2.5 * x.pow(2) + 1
        x < 2 -> -0.5 * x.pow(3) + 2.5 * x.pow(2) - 4 * x + 2
        else -> 0.0
    }
}
