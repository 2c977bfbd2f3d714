package cbpnet.core

import kotlin.math.ceil
import kotlin.math.floor

/** Bits of a weight's fraction: a sum of weighted 8-bit numbers, with its overshoot, fits in 32. */
private const val BITS = 22
private const val HALF = 1 shl (BITS - 1)

/**
 * Resizes an image as Pillow's `Image.resize` does and returns a window of the result.
 *
 * Columns first, then rows, each with 8-bit rounding; in making smaller, the filter's support grows
 * with the factor, which is what keeps fine patterns from aliasing. A pixel of the result depends
 * on its place only, so that what lies outside the window need not be computed.
 *
 * @param width of the whole result, [height] likewise.
 * @param left of the window in it, [top] likewise; its sides are [size], all within the result.
 */
internal fun resizeWindow(
    image: RgbImage,
    width: Int,
    height: Int,
    left: Int,
    top: Int,
    size: Int,
    interpolation: Interpolation,
): RgbImage {
    val columns = List(size) { sources(left + it, image.width, width, interpolation) }
    val rows = List(size) { sources(top + it, image.height, height, interpolation) }
    val first = rows.first().first
    val last = rows.last().let { it.first + it.weights.size }
    val narrow = ByteArray((last - first) * size * CHANNELS)
    for (y in first until last) {
        val line = y * image.width * CHANNELS
        for ((x, column) in columns.withIndex()) {
            val target = ((y - first) * size + x) * CHANNELS
            for (channel in 0 until CHANNELS) {
                narrow[target + channel] =
                    column.weigh(image.pixels, line + column.first * CHANNELS + channel, CHANNELS)
            }
        }
    }
    val stride = size * CHANNELS
    val small = ByteArray(size * stride)
    for ((y, row) in rows.withIndex()) {
        for (place in 0 until stride) {
            small[y * stride + place] = row.weigh(narrow, (row.first - first) * stride + place, stride)
        }
    }
    return RgbImage(size, size, small)
}

/** What a pixel is mixed from along one axis: neighbours from [first] on, and their fixed-point weights. */
private class Sources(val first: Int, val weights: IntArray) {
    /** The rounded sum of numbers from 0 to 255 that stand [step] bytes apart, from [start] on. */
    fun weigh(pixels: ByteArray, start: Int, step: Int): Byte {
        var sum = HALF
        var place = start
        for (weight in weights) {
            sum += weight * (pixels[place].toInt() and 0xFF)
            place += step
        }
        return (sum shr BITS).coerceIn(0, 255).toByte()
    }
}

/** The sources of the pixel at [place] among [length], where there were [before]. */
private fun sources(place: Int, before: Int, length: Int, interpolation: Interpolation): Sources {
    val scale = before.toDouble() / length
    val stretch = maxOf(scale, 1.0)
    val support = interpolation.support * stretch
    val centre = (place + 0.5) * scale
    val first = maxOf((centre - support + 0.5).toInt(), 0)
    val last = minOf((centre + support + 0.5).toInt(), before)
    val weights = DoubleArray(last - first) { interpolation.weight((it + first - centre + 0.5) * (1 / stretch)) }
    val sum = weights.sum()
    return Sources(first, IntArray(weights.size) { roundAwayFromZero(weights[it] / sum * (1 shl BITS)) })
}

private fun roundAwayFromZero(value: Double): Int =
    (if (value < 0) ceil(value - 0.5) else floor(value + 0.5)).toInt()
