package cbpnet.core

import java.io.DataInputStream
import java.io.File
import java.io.IOException
import java.io.InputStream
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.security.MessageDigest

private const val MAGIC = "CBPNETMB"
private const val DIGEST = 32
private const val TRAILER = 16 + DIGEST
private const val BUFFER = 1 shl 16
private const val AGAIN = "Export it again with cbpnet-mobile, or copy it again."

/**
 * Verifies a bundle by its trailer, before the runtime sees a byte: a damaged program can end the app.
 *
 * @throws InputException the file cannot be read, is no bundle, one of another format, or damaged.
 */
public fun verifyBundle(file: File) {
    val (trailer, digest) = try {
        file.inputStream().use { readTrailer(it, file.length()) }
    } catch (error: IOException) {
        throw InputException("The bundle ${file.name} cannot be read: ${error.message}.", error)
    }
    val header = ByteBuffer.wrap(trailer).order(ByteOrder.LITTLE_ENDIAN)
    val magic = ByteArray(MAGIC.length).also(header::get)
    if (!magic.contentEquals(MAGIC.toByteArray())) {
        throw InputException("The file ${file.name} is not a bundle, or a bundle cut short. $AGAIN")
    }
    val version = header.getInt()
    header.getInt()
    // The checksum is of the same form in every version, so that damage is not taken for a version.
    if (header.slice() != ByteBuffer.wrap(digest)) {
        throw InputException("The bundle ${file.name} is damaged: its checksum does not match. $AGAIN")
    }
    if (version != BUNDLE_VERSION) throw otherVersion("bundle", version, BUNDLE_VERSION)
}

/** Reads a file once, and returns its trailer and the SHA-256 of all before the trailer's own. */
private fun readTrailer(stream: InputStream, length: Long): Pair<ByteArray, ByteArray> {
    val digest = MessageDigest.getInstance("SHA-256")
    val buffer = ByteArray(BUFFER)
    var left = length - TRAILER
    val input = DataInputStream(stream)
    while (left > 0) {
        val count = minOf(left, BUFFER.toLong()).toInt()
        input.readFully(buffer, 0, count)
        digest.update(buffer, 0, count)
        left -= count
    }
    val trailer = ByteArray(TRAILER)
    if (length >= TRAILER) input.readFully(trailer)
    digest.update(trailer, 0, TRAILER - DIGEST)
    return trailer to digest.digest()
}
