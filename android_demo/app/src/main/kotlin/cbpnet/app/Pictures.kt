package cbpnet.app

import android.graphics.Bitmap
import android.graphics.BitmapFactory
import cbpnet.core.InputException
import cbpnet.core.Picture
import cbpnet.core.RgbImage
import cbpnet.core.exifOrientation
import java.io.ByteArrayOutputStream
import java.io.File

private const val JPEG_QUALITY = 95

/** A phone's photograph has more, which no backbone sees and which would fill the memory. */
private const val MOST_PIXELS = 4_000_000

/** A picture in a file. */
class PictureFile(private val file: File) : Picture {
    override val name: String get() = file.name

    override fun decode(): RgbImage = decodePicture(file.readBytes())
}

/**
 * An image file's image, upright; a large one is halved until it has at most 4 million pixels.
 *
 * @throws InputException it cannot be decoded.
 */
fun decodePicture(file: ByteArray): RgbImage {
    val options = BitmapFactory.Options().apply { inJustDecodeBounds = true }
    BitmapFactory.decodeByteArray(file, 0, file.size, options)
    options.inSampleSize = halvings(options.outWidth, options.outHeight)
    options.inJustDecodeBounds = false
    options.inPremultiplied = false
    val bitmap = BitmapFactory.decodeByteArray(file, 0, file.size, options)
        ?: throw InputException("This is no picture that the phone can read. Choose a JPEG, PNG or WebP file.")
    return bitmap.toRgb().upright(exifOrientation(file))
}

/** The power of two by which width and height are divided. */
internal fun halvings(width: Int, height: Int): Int =
    generateSequence(1) { it * 2 }.first { (width / it).toLong() * (height / it) <= MOST_PIXELS }

/** A bitmap to show, of at most about [side] pixels a side; null where the file cannot be decoded. */
fun loadThumbnail(file: File, side: Int): Bitmap? {
    val options = BitmapFactory.Options().apply { inJustDecodeBounds = true }
    BitmapFactory.decodeFile(file.path, options)
    options.inSampleSize = maxOf(1, minOf(options.outWidth, options.outHeight) / side)
    options.inJustDecodeBounds = false
    return BitmapFactory.decodeFile(file.path, options)
}

/** A JPEG file's bytes. */
fun RgbImage.toJpeg(): ByteArray =
    ByteArrayOutputStream().also { toBitmap().compress(Bitmap.CompressFormat.JPEG, JPEG_QUALITY, it) }.toByteArray()

/** A bitmap to show. */
fun RgbImage.toBitmap(): Bitmap {
    val argb = IntArray(width * height) { place ->
        val red = pixels[3 * place].toInt() and 0xFF
        val green = pixels[3 * place + 1].toInt() and 0xFF
        val blue = pixels[3 * place + 2].toInt() and 0xFF
        0xFF shl 24 or (red shl 16) or (green shl 8) or blue
    }
    return Bitmap.createBitmap(argb, width, height, Bitmap.Config.ARGB_8888)
}

private fun Bitmap.toRgb(): RgbImage {
    val argb = IntArray(width * height)
    getPixels(argb, 0, width, 0, 0, width, height)
    return RgbImage.fromArgb(width, height, argb)
}
