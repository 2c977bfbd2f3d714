package cbpnet.core

import java.io.File
import java.io.IOException
import java.io.RandomAccessFile
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.security.MessageDigest

private const val BUNDLE_VERSION = 4
private const val MAGIC = "CBPNETMB"
private const val DIGEST = 32
private const val TRAILER = 16 + DIGEST
private const val BUFFER = 1 shl 16

/** Bytes of a manifest; ten thousand class names take a tenth of it. */
private const val LARGEST = 1L shl 22
private const val AGAIN = "Export it again with cbpnet-mobile, or copy it again."

/**
 * Verifies a bundle and reads its manifest, before the runtime sees a byte: a damaged program can end
 * the app.
 *
 * @throws InputException the file cannot be read, is no bundle, one of another format, or damaged, or
 *   its manifest cannot be used.
 */
public fun readManifest(file: File): Manifest {
    val content = try {
        RandomAccessFile(file, "r").use { manifestBytes(it, file.name) }
    } catch (error: IOException) {
        throw InputException("The bundle ${file.name} cannot be read: ${error.message}.", error)
    }
    return Manifest.parse(content)
}

private fun manifestBytes(file: RandomAccessFile, name: String): ByteArray {
    val end = file.length() - TRAILER
    val trailer = if (end < 0) ByteArray(TRAILER) else bytes(file, end, TRAILER)
    val header = ByteBuffer.wrap(trailer).order(ByteOrder.LITTLE_ENDIAN)
    val magic = ByteArray(MAGIC.length).also(header::get)
    if (!magic.contentEquals(MAGIC.toByteArray())) {
        throw InputException("The file $name is not a bundle, or a bundle cut short. $AGAIN")
    }
    val version = header.getInt()
    val length = header.getInt().toUInt().toLong()
    // The checksum is of the same form in every version, so that damage is not taken for a version.
    if (header.slice() != ByteBuffer.wrap(sha256(file, file.length() - DIGEST))) {
        throw InputException("The bundle $name is damaged: its checksum does not match. $AGAIN")
    }
    if (version != BUNDLE_VERSION) throw otherVersion("bundle", version, BUNDLE_VERSION)
    val most = minOf(end, LARGEST)
    if (length > most) {
        throw InputException(
            "The bundle $name says that its description of itself has $length bytes, and at most $most would be " +
                "right. Export the bundle again.",
        )
    }
    return bytes(file, end - length, length.toInt())
}

private fun bytes(file: RandomAccessFile, start: Long, count: Int): ByteArray {
    file.seek(start)
    return ByteArray(count).also(file::readFully)
}

/** The SHA-256 of a file's first [count] bytes. */
private fun sha256(file: RandomAccessFile, count: Long): ByteArray {
    val digest = MessageDigest.getInstance("SHA-256")
    val buffer = ByteArray(BUFFER)
    var left = count
    file.seek(0)
    while (left > 0) {
        val part = minOf(left, BUFFER.toLong()).toInt()
        file.readFully(buffer, 0, part)
        digest.update(buffer, 0, part)
        left -= part
    }
    return digest.digest()
}
