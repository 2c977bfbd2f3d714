package cbpnet.core

import kotlin.math.ceil
import kotlin.math.floor

/** Bits of a weight's fraction: a sum of weighted 8-bit numbers, with its overshoot, fits in 32. */
private const val BITS = 22
private const val HALF = 1 shl (BITS - 1)

/**
 * Resizes an image as Pillow 13's `Image.resize` does and returns a window of the result.
 *
 * First the columns, then the rows, or the other way round where the height falls by more than twice
 * what the width does; 8-bit rounding after each. In making smaller, the filter's support grows with
 * the factor, which is what keeps fine patterns from aliasing. A pixel of the result depends on its
 * place only, so that what lies outside the window need not be computed.
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
    val rowsFirst = height < image.height && image.height - height > 2 * (image.width - width)
    return if (rowsFirst) {
        val needed = span(columns)
        mixColumns(mixRows(image, rows, needed), columns.map { it.from(needed.first) }, 0 until size)
    } else {
        val needed = span(rows)
        mixRows(mixColumns(image, columns, needed), rows.map { it.from(needed.first) }, 0 until size)
    }
}

/** The rows [needed] of an image, their pixels mixed into new columns. */
private fun mixColumns(image: RgbImage, columns: List<Sources>, needed: IntRange): RgbImage {
    val height = needed.last - needed.first + 1
    val mixed = ByteArray(height * columns.size * CHANNELS)
    var target = 0
    for (y in needed) {
        for (column in columns) {
            val start = (y * image.width + column.first) * CHANNELS
            for (channel in 0 until CHANNELS) mixed[target++] = column.weigh(image.pixels, start + channel, CHANNELS)
        }
    }
    return RgbImage(columns.size, height, mixed)
}

/** The columns [needed] of an image, their pixels mixed into new rows. */
private fun mixRows(image: RgbImage, rows: List<Sources>, needed: IntRange): RgbImage {
    val width = needed.last - needed.first + 1
    val stride = image.width * CHANNELS
    val mixed = ByteArray(rows.size * width * CHANNELS)
    var target = 0
    for (row in rows) {
        val start = row.first * stride + needed.first * CHANNELS
        for (place in 0 until width * CHANNELS) mixed[target++] = row.weigh(image.pixels, start + place, stride)
    }
    return RgbImage(width, rows.size, mixed)
}

/** All that some pixels are mixed from. */
private fun span(sources: List<Sources>): IntRange =
    sources.first().first until sources.last().let { it.first + it.weights.size }

/** What a pixel is mixed from along one axis: neighbours from [first] on, and their fixed-point weights. */
private class Sources(val first: Int, val weights: IntArray) {
    /** The same, where the numbering begins at [start]. */
    fun from(start: Int) = Sources(first - start, weights)

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
