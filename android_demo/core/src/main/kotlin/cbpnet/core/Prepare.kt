package cbpnet.core

import kotlin.math.floor
import kotlin.math.round

/** A longer strip is cut to its middle, which alone is seen: resized whole it would fill memory. */
private const val LONGEST_RATIO = 8
private const val LEVELS = 256

/**
 * An image as a backbone sees it, before normalisation: resized, antialiased, and its centre cut out.
 *
 * @param image upright.
 * @return S x S, S = [Preprocessing.imageSize].
 */
public fun prepare(image: RgbImage, preprocessing: Preprocessing): RgbImage {
    val trimmed = trimStrip(image)
    val size = preprocessing.imageSize
    val shorter = floor(size / preprocessing.cropPct).toLong()
    val scale = minOf(trimmed.width, trimmed.height)
    val width = (shorter * trimmed.width / scale).toInt()
    val height = (shorter * trimmed.height / scale).toInt()
    return resizeWindow(
        trimmed, width, height, centred(width, size), centred(height, size), size, preprocessing.interpolation,
    )
}

/** Where a window of [size] begins in the middle of [length]; halves go to the even number. */
private fun centred(length: Int, size: Int): Int = round((length - size) / 2.0).toInt()

private fun trimStrip(image: RgbImage): RgbImage {
    val limit = LONGEST_RATIO * minOf(image.width, image.height)
    if (maxOf(image.width, image.height) <= limit) return image
    val width = minOf(image.width, limit)
    val height = minOf(image.height, limit)
    return image.cropped((image.width - width) / 2, (image.height - height) / 2, width, height)
}

/** Makes numbers of prepared images: `(pixel / 255 - mean) / std` for each channel. */
public class Normaliser(private val preprocessing: Preprocessing) {
    /** The number of each pixel value, for each channel. */
    private val numbers = Array(CHANNELS) { channel ->
        FloatArray(LEVELS) { (it / 255f - preprocessing.mean[channel]) / preprocessing.std[channel] }
    }

    /** B images that [prepare] gave, as fp32 [B, 3, S, S]. */
    public fun tensor(images: List<RgbImage>): FloatTensor {
        val size = preprocessing.imageSize
        val area = size * size
        val values = FloatArray(images.size * CHANNELS * area)
        for ((index, image) in images.withIndex()) {
            for (channel in 0 until CHANNELS) {
                val start = (index * CHANNELS + channel) * area
                for (place in 0 until area) {
                    val pixel = image.pixels[place * CHANNELS + channel].toInt() and 0xFF
                    values[start + place] = numbers[channel][pixel]
                }
            }
        }
        return FloatTensor(values, listOf(images.size, CHANNELS, size, size))
    }
}
