package cbpnet.app.camera

import cbpnet.core.RgbImage
import java.nio.ByteBuffer

/** One of a frame's three planes: a value every [pixelStride] bytes, a row every [rowStride]. */
class Plane(private val bytes: ByteBuffer, private val rowStride: Int, private val pixelStride: Int) {
    /** The value at a column and row, from 0 to 255. */
    fun at(x: Int, y: Int): Int = bytes.get(y * rowStride + x * pixelStride).toInt() and 0xFF
}

/**
 * A camera's frame: brightness [y] for every pixel, colours [u] and [v] for every square of four, as
 * JPEG has them (BT.601, all values from 0 to 255).
 */
class YuvFrame(
    private val width: Int,
    private val height: Int,
    private val y: Plane,
    private val u: Plane,
    private val v: Plane,
) {
    /** The square in the middle, as the sensor lies. */
    fun centre(): RgbImage {
        val side = minOf(width, height)
        val left = (width - side) / 2
        val top = (height - side) / 2
        val pixels = ByteArray(3 * side * side)
        var place = 0
        for (row in top until top + side) {
            for (column in left until left + side) {
                val bright = (y.at(column, row) shl SHIFT) + HALF
                val blue = u.at(column / 2, row / 2) - GREY
                val red = v.at(column / 2, row / 2) - GREY
                pixels[place++] = byte(bright + RED_OF_V * red)
                pixels[place++] = byte(bright - GREEN_OF_U * blue - GREEN_OF_V * red)
                pixels[place++] = byte(bright + BLUE_OF_U * blue)
            }
        }
        return RgbImage(side, side, pixels)
    }

    private fun byte(scaled: Int): Byte = (scaled shr SHIFT).coerceIn(0, 255).toByte()

    /** The factors 1.402, 0.344136, 0.714136 and 1.772, in units of 1 / 65536. */
    private companion object {
        const val SHIFT = 16
        const val HALF = 1 shl (SHIFT - 1)
        const val GREY = 128
        const val RED_OF_V = 91881
        const val GREEN_OF_U = 22553
        const val GREEN_OF_V = 46802
        const val BLUE_OF_U = 116130
    }
}

/**
 * The EXIF orientation of a camera's frames, for [RgbImage.upright].
 *
 * @param sensor degrees, clockwise, by which a frame must be turned in the device's natural position.
 * @param display degrees by which the display's content is turned, counter-clockwise to the device.
 * @param facesUser the front camera, of which the picture is mirrored, as in a mirror.
 */
fun frameOrientation(sensor: Int, display: Int, facesUser: Boolean): Int {
    val turn = if (facesUser) sensor + display else sensor - display + FULL_TURN
    return (if (facesUser) MIRRORED else PLAIN).getValue(turn % FULL_TURN)
}

private const val FULL_TURN = 360
private val PLAIN = mapOf(0 to 1, 90 to 6, 180 to 3, 270 to 8)
private val MIRRORED = mapOf(0 to 2, 90 to 5, 180 to 4, 270 to 7)
