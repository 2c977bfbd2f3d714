package cbpnet.core

import java.nio.ByteBuffer
import java.nio.ByteOrder

private const val UPRIGHT = 1
private const val ORIENTATION = 0x0112
private const val SHORT = 3
private const val ENTRY = 12
private val TIFF_HEADER = "Exif\u0000\u0000".toByteArray()

/**
 * The EXIF orientation of an image file, a number from 1 to 8; 1, upright, where it says nothing.
 *
 * JPEG, PNG and WebP are understood. Damaged EXIF data do not hurt the pixels and count as none.
 */
public fun exifOrientation(file: ByteArray): Int = try {
    val found = exifBlock(file)?.let(::orientation) ?: UPRIGHT
    if (found in 1..8) found else UPRIGHT
} catch (error: RuntimeException) { // of a buffer, that the data point beyond their end
    UPRIGHT
}

/** The EXIF data of a file, in TIFF's format, or null. */
private fun exifBlock(file: ByteArray): ByteBuffer? = when {
    file.hasAt(0, 0xFF, 0xD8) -> jpegExif(file)
    file.hasAt(1, 'P'.code, 'N'.code, 'G'.code) ->
        chunk(file, "eXIf", first = 8, ByteOrder.BIG_ENDIAN, nameFirst = false)
    file.hasAt(8, 'W'.code, 'E'.code, 'B'.code, 'P'.code) ->
        chunk(file, "EXIF", first = 12, ByteOrder.LITTLE_ENDIAN, nameFirst = true)
    else -> null
}?.let { if (it.startsWith(TIFF_HEADER)) it.from(TIFF_HEADER.size) else it }

private fun jpegExif(file: ByteArray): ByteBuffer? {
    val bytes = ByteBuffer.wrap(file)
    var position = 2
    while (true) {
        bytes.position(position)
        val marker = bytes.getShort().toInt() and 0xFFFF
        val length = bytes.getShort().toInt() and 0xFFFF
        val isSegment = marker in 0xFFC0..0xFFFE && marker != START_OF_SCAN
        if (!isSegment || length < 2) return null
        val content = bytes.part(position + 4, length - 2)
        if (marker == APP1 && content.startsWith(TIFF_HEADER)) return content
        position += 2 + length
    }
}

private const val APP1 = 0xFFE1
private const val START_OF_SCAN = 0xFFDA

/** The content of a chunk of a PNG (length, name, content, checksum) or WebP (name, length, content). */
private fun chunk(file: ByteArray, name: String, first: Int, order: ByteOrder, nameFirst: Boolean): ByteBuffer? {
    val bytes = ByteBuffer.wrap(file).order(order)
    val overhead = if (nameFirst) 8 else 12
    var position = first
    while (position + 8 <= file.size) {
        val length = bytes.getInt(position + if (nameFirst) 4 else 0)
        val found = String(file, position + if (nameFirst) 0 else 4, 4, Charsets.ISO_8859_1)
        require(length >= 0)
        if (found == name) return bytes.part(position + 8, length)
        position = Math.addExact(position + overhead, if (nameFirst) length + length % 2 else length)
    }
    return null
}

/** The orientation in TIFF's first directory, or null. */
private fun orientation(tiff: ByteBuffer): Int? {
    val order = tiff.getShort(0).toInt()
    tiff.order(if (order == 0x4949) ByteOrder.LITTLE_ENDIAN else ByteOrder.BIG_ENDIAN)
    val directory = tiff.getInt(4)
    val count = tiff.getShort(directory).toInt() and 0xFFFF
    for (entry in 0 until count) {
        val place = directory + 2 + entry * ENTRY
        if (tiff.getShort(place).toInt() == ORIENTATION && tiff.getShort(place + 2).toInt() == SHORT) {
            return tiff.getShort(place + 8).toInt()
        }
    }
    return null
}

private fun ByteArray.hasAt(position: Int, vararg bytes: Int): Boolean =
    bytes.indices.all { getOrNull(position + it) == bytes[it].toByte() }

private fun ByteBuffer.startsWith(bytes: ByteArray): Boolean =
    remaining() >= bytes.size && bytes.indices.all { get(position() + it) == bytes[it] }

/** The [length] bytes from [start] on, in a buffer of their own. */
private fun ByteBuffer.part(start: Int, length: Int): ByteBuffer {
    val part = duplicate()
    part.position(start)
    part.limit(Math.addExact(start, length))
    return part.slice()
}

private fun ByteBuffer.from(start: Int): ByteBuffer = part(start, limit() - start)
