package cbpnet.core

/**
 * Makes tensors of the rows that a bundle's methods take.
 *
 * Fewer rows are filled up by repeating the last, numbers that the network is made for; labels and
 * weights mark what was added as padding.
 *
 * @property size rows m of a call.
 */
internal class Batches(manifest: Manifest, val size: Int = manifest.microBatch) {
    private val normaliser = Normaliser(manifest.preprocessing)

    /** Prepared images, as fp32 [m, 3, S, S]. */
    fun images(images: List<RgbImage>): FloatTensor = normaliser.tensor(padded(images))

    /** Features, as fp32 [m, F]. */
    fun features(rows: List<FloatArray>): FloatTensor {
        val width = rows.first().size
        val values = FloatArray(size * width)
        padded(rows).forEachIndexed { row, feature -> feature.copyInto(values, row * width) }
        return FloatTensor(values, listOf(size, width))
    }

    /** Class numbers, as int64 [m]. */
    fun labels(labels: List<Int>): LongTensor =
        LongTensor(LongArray(size) { labels.getOrElse(it) { PADDING }.toLong() }, listOf(size))

    /** What each of [count] rows counts, as fp32 [m]. */
    fun weights(weight: Float, count: Int): FloatTensor =
        FloatTensor(FloatArray(size) { if (it < count) weight else 0f }, listOf(size))

    /** How many images of its class each row is left out with, as fp32 [m]; the padding goes alone. */
    fun copies(copies: List<Float>): FloatTensor =
        FloatTensor(FloatArray(size) { copies.getOrElse(it) { 1f } }, listOf(size))

    private fun <T> padded(part: List<T>): List<T> = part + List(size - part.size) { part.last() }

    companion object {
        /** A label that no class has. */
        const val PADDING = -1
    }
}
