package cbpnet.core

/** A picture for tests: one colour, and a few pixels that are not. */
internal class Colour(
    private val red: Int,
    private val green: Int,
    private val blue: Int,
    private val seed: Int = 0,
) : Picture {
    override val name get() = "colour $red $green $blue"
    var decoded = 0

    override fun decode(): RgbImage {
        decoded++
        return image()
    }

    fun image(): RgbImage {
        val pixels = ByteArray(5 * 6 * 3) { listOf(red, green, blue)[it % 3].toByte() }
        pixels[seed * 3] = 77
        return RgbImage(6, 5, pixels)
    }
}

internal fun reds(count: Int): List<Colour> = List(count) { Colour(220, 30, 20, it) }

internal fun greens(count: Int): List<Colour> = List(count) { Colour(20, 200, 40, it) }

internal fun blues(count: Int): List<Colour> = List(count) { Colour(20, 20, 230, it) }
