package cbpnet.core

import kotlin.math.abs
import kotlin.math.round

private const val LARGEST = 65504f // of fp16's finite numbers
private const val LEAST_NORMAL = 1f / (1 shl 14)
private const val STEPS = 1 shl 24 // of 1, to the next number where fp16 is densest
private const val MANTISSA = 1023
private const val TO_FLOAT = 112 // what a float's exponent is larger by
private const val NAN: Short = 0x7E00

/**
 * The bits of the nearest number of fp16, IEEE 754's binary16; of two as near the even one.
 *
 * What is beyond the largest finite number becomes that.
 */
internal fun half(value: Float): Short {
    if (value.isNaN()) return NAN
    val size = minOf(abs(value), LARGEST)
    val magnitude = if (size < LEAST_NORMAL) {
        round(size.toDouble() * STEPS).toInt()
    } else {
        val bits = size.toRawBits()
        (bits - (TO_FLOAT shl 23) + 0xFFF + (bits shr 13 and 1)) shr 13
    }
    return (magnitude or (value.toRawBits() ushr 31 shl 15)).toShort()
}

/** The number that bits in fp16 stand for. */
internal fun float(half: Short): Float {
    val bits = half.toInt()
    val mantissa = bits and MANTISSA
    val size = when (val exponent = bits shr 10 and 31) {
        0 -> mantissa.toFloat() / STEPS
        31 -> if (mantissa == 0) Float.POSITIVE_INFINITY else Float.NaN
        else -> Float.fromBits((exponent + TO_FLOAT shl 23) or (mantissa shl 13))
    }
    return if (bits < 0) -size else size
}

/** Features of images in fp16, as they are counted and kept: rows of [width] numbers, by their [bits]. */
internal class HalfRows(val bits: ShortArray, val width: Int) {
    /** The number of rows. */
    val size: Int get() = if (width == 0) 0 else bits.size / width

    /** A row's numbers. */
    fun row(number: Int): FloatArray = FloatArray(width) { float(bits[number * width + it]) }

    /** Some rows alone. */
    fun only(rows: List<Int>): HalfRows =
        HalfRows(ShortArray(rows.size * width) { bits[rows[it / width] * width + it % width] }, width)

    companion object {
        val NONE = HalfRows(ShortArray(0), 0)

        /** Rows of the same length, rounded. */
        fun of(rows: List<FloatArray>): HalfRows {
            val width = rows.first().size
            return HalfRows(ShortArray(rows.size * width) { half(rows[it / width][it % width]) }, width)
        }
    }
}

/** Features as they are counted: the numbers of fp16 that are nearest. */
internal fun asCounted(x: FloatArray): FloatArray = FloatArray(x.size) { float(half(x[it])) }
