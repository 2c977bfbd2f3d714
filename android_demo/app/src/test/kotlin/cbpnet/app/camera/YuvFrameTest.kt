package cbpnet.app.camera

import java.nio.ByteBuffer
import kotlin.math.abs
import kotlin.math.roundToInt
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Test

class YuvFrameTest {
    /** JPEG's colours, from the standard's formula. */
    private fun yuv(red: Int, green: Int, blue: Int) = listOf(
        0.299 * red + 0.587 * green + 0.114 * blue,
        128 - 0.168736 * red - 0.331264 * green + 0.5 * blue,
        128 + 0.5 * red - 0.418688 * green - 0.081312 * blue,
    ).map { it.roundToInt().coerceIn(0, 255) }

    private fun plane(value: Int) = Plane(ByteBuffer.wrap(byteArrayOf(value.toByte())), 0, 0)

    @Test
    fun coloursComeBackWithinRounding() {
        for (red in 0..255 step 51) {
            for (green in 0..255 step 51) {
                for (blue in 0..255 step 51) {
                    val (y, u, v) = yuv(red, green, blue)
                    val found = YuvFrame(1, 1, plane(y), plane(u), plane(v)).centre().pixels.map { it.toInt() and 0xFF }
                    val apart = listOf(red, green, blue).zip(found) { a, b -> abs(a - b) }.max()
                    assertTrue("$red $green $blue became $found", apart <= 2)
                }
            }
        }
    }

    @Test
    fun theMiddleSquareIsTakenWhateverTheStrides() {
        // 6 x 2, rows of 8 bytes; colours interleaved, as most phones have them.
        val y = ByteBuffer.wrap(ByteArray(16) { (10 * it).toByte() })
        val colours = ByteBuffer.wrap(ByteArray(8) { 128.toByte() })
        val image = YuvFrame(6, 2, Plane(y, 8, 1), Plane(colours, 8, 2), Plane(colours, 8, 2)).centre()
        assertEquals(2, image.width)
        assertEquals(2, image.height)
        val greys = (0 until 4).map { image.pixels[3 * it].toInt() and 0xFF }
        assertEquals(listOf(20, 30, 100, 110), greys)
    }

    @Test
    fun framesAreTurnedByTheSensorAndTheDisplay() {
        // Phones: the sensor lies at 90 degrees; upright, then turned to the left.
        assertEquals(6, frameOrientation(90, 0, facesUser = false))
        assertEquals(1, frameOrientation(90, 90, facesUser = false))
        assertEquals(8, frameOrientation(0, 90, facesUser = false))
        // Front cameras lie at 270 and show a mirror.
        assertEquals(7, frameOrientation(270, 0, facesUser = true))
        assertEquals(2, frameOrientation(270, 90, facesUser = true))
    }
}
