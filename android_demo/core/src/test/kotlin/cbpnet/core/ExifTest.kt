package cbpnet.core

import java.nio.ByteBuffer
import java.nio.ByteOrder
import org.junit.Assert.assertEquals
import org.junit.Test

class ExifTest {
    @Test
    fun jpegPngAndWebpAreUnderstood() {
        for (orientation in 1..8) {
            for (order in listOf(ByteOrder.LITTLE_ENDIAN, ByteOrder.BIG_ENDIAN)) {
                val tiff = tiff(orientation, order)
                for (file in listOf(jpeg(tiff), png(tiff), webp(tiff), webp(HEADER + tiff))) {
                    assertEquals(orientation, exifOrientation(file))
                }
            }
        }
    }

    @Test
    fun filesWithoutAreUpright() {
        val files = listOf(
            ByteArray(0), ByteArray(1000), byteArrayOf(-1, -40), "a text that is no picture".toByteArray(),
            jpeg(null), png(null), webp(null),
        )
        for (file in files) assertEquals(1, exifOrientation(file))
    }

    @Test
    fun damagedDataCountAsNone() {
        val good = tiff(6, ByteOrder.BIG_ENDIAN)
        for (make in listOf(::jpeg, ::png, ::webp)) {
            val file = make(good)
            for (length in 0 until file.size) exifOrientation(file.copyOf(length))
            for (place in file.indices) {
                for (value in listOf(0, 127, 255)) {
                    val found = exifOrientation(file.copyOf().also { it[place] = value.toByte() })
                    assert(found in 1..8)
                }
            }
        }
        assertEquals(1, exifOrientation(jpeg(tiff(0, ByteOrder.BIG_ENDIAN))))
        assertEquals(1, exifOrientation(jpeg(tiff(9, ByteOrder.BIG_ENDIAN))))
    }

    private fun tiff(orientation: Int, order: ByteOrder): ByteArray {
        val bytes = ByteBuffer.allocate(40).order(order)
        bytes.put((if (order == ByteOrder.LITTLE_ENDIAN) "II" else "MM").toByteArray()).putShort(42).putInt(10)
        bytes.putShort(0) // a gap before the directory
        bytes.putShort(2)
        bytes.putShort(0x010F).putShort(2).putInt(1).putInt(0) // the maker's name
        bytes.putShort(0x0112).putShort(3).putInt(1).putShort(orientation.toShort())
        return bytes.array()
    }

    private fun jpeg(tiff: ByteArray?): ByteArray {
        val xmp = segment(0xE1, "http://ns.adobe.com/xap/1.0/".toByteArray())
        val first = segment(0xE0, "JFIF".toByteArray()) + xmp
        return bytes(0xFF, 0xD8) + first + (tiff?.let { segment(0xE1, HEADER + it) } ?: ByteArray(0)) +
            segment(0xDA, ByteArray(6)) + ByteArray(50) { it.toByte() } + bytes(0xFF, 0xD9)
    }

    private fun segment(marker: Int, content: ByteArray) =
        bytes(0xFF, marker, (content.size + 2) shr 8, (content.size + 2) and 0xFF) + content

    private fun png(tiff: ByteArray?): ByteArray =
        bytes(0x89, 'P'.code, 'N'.code, 'G'.code, 13, 10, 26, 10) + chunk("IHDR", ByteArray(13)) +
            (tiff?.let { chunk("eXIf", it) } ?: ByteArray(0)) + chunk("IDAT", ByteArray(9)) +
            chunk("IEND", ByteArray(0))

    private fun chunk(name: String, content: ByteArray): ByteArray =
        ByteBuffer.allocate(12 + content.size).putInt(content.size).put(name.toByteArray()).put(content).array()

    private fun webp(tiff: ByteArray?): ByteArray =
        "RIFF????WEBP".toByteArray() + part("VP8 ", ByteArray(7)) + (tiff?.let { part("EXIF", it) } ?: ByteArray(0))

    private fun part(name: String, content: ByteArray): ByteArray =
        ByteBuffer.allocate(8 + content.size + content.size % 2).order(ByteOrder.LITTLE_ENDIAN)
            .put(name.toByteArray()).putInt(content.size).put(content).array()

    private fun bytes(vararg values: Int) = ByteArray(values.size) { values[it].toByte() }

    private companion object {
        val HEADER = "Exif\u0000\u0000".toByteArray()
    }
}
