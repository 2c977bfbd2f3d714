package cbpnet.core

private const val OPAQUE = 255

/**
 * A decoded image: 8 bits a channel, red, green and blue.
 *
 * @property pixels [height, width, 3] in one array; a byte is a number from 0 to 255.
 * @throws IllegalArgumentException an empty image, or another number of bytes.
 */
public class RgbImage(public val width: Int, public val height: Int, public val pixels: ByteArray) {
    init {
        require(width > 0 && height > 0 && pixels.size == elements(listOf(height, width, CHANNELS))) {
            "${pixels.size} bytes are no image of $width x $height"
        }
    }

    /**
     * The image turned as its EXIF [orientation] asks for, a number from 1 to 8; another number
     * leaves it as it is. The number says where the first row and column of the stored image belong.
     */
    public fun upright(orientation: Int): RgbImage = when (orientation) {
        2 -> rearranged(width, height) { x, y -> at(width - 1 - x, y) }
        3 -> rearranged(width, height) { x, y -> at(width - 1 - x, height - 1 - y) }
        4 -> rearranged(width, height) { x, y -> at(x, height - 1 - y) }
        5 -> rearranged(height, width) { x, y -> at(y, x) }
        6 -> rearranged(height, width) { x, y -> at(y, height - 1 - x) }
        7 -> rearranged(height, width) { x, y -> at(width - 1 - y, height - 1 - x) }
        8 -> rearranged(height, width) { x, y -> at(width - 1 - y, x) }
        else -> this
    }

    /** The part [width] x [height] of which the upper left pixel is at [left], [top]. */
    internal fun cropped(left: Int, top: Int, width: Int, height: Int): RgbImage =
        rearranged(width, height) { x, y -> at(left + x, top + y) }

    private fun at(x: Int, y: Int): Int = (y * width + x) * CHANNELS

    /** A new image; [source] gives where in [pixels] the pixel at x, y begins. */
    private inline fun rearranged(width: Int, height: Int, source: (Int, Int) -> Int): RgbImage {
        val moved = ByteArray(pixels.size / (this.width * this.height) * width * height)
        var target = 0
        for (y in 0 until height) {
            for (x in 0 until width) {
                val from = source(x, y)
                for (channel in 0 until CHANNELS) moved[target++] = pixels[from + channel]
            }
        }
        return RgbImage(width, height, moved)
    }

    public companion object {
        /**
         * An image from pixels as Android's and Java's images give them, 0xAARRGGBB, not
         * premultiplied; transparency is laid on white.
         *
         * @param argb [height, width].
         */
        public fun fromArgb(width: Int, height: Int, argb: IntArray): RgbImage {
            val pixels = ByteArray(argb.size * CHANNELS)
            for ((index, pixel) in argb.withIndex()) {
                val alpha = pixel ushr 24
                for (channel in 0 until CHANNELS) {
                    val value = pixel shr (16 - 8 * channel) and 0xFF
                    val mixed = (value * alpha + OPAQUE * (OPAQUE - alpha) + OPAQUE / 2) / OPAQUE
                    pixels[index * CHANNELS + channel] = mixed.toByte()
                }
            }
            return RgbImage(width, height, pixels)
        }
    }
}
