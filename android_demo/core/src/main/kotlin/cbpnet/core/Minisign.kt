package cbpnet.core

import java.io.File
import java.io.IOException
import java.security.GeneralSecurityException
import java.security.KeyFactory
import java.security.NoSuchAlgorithmException
import java.security.PublicKey
import java.security.Signature
import java.security.spec.X509EncodedKeySpec
import java.util.Base64

private const val ALGORITHM = 2
private const val ID = 8
private const val KEY = 32
private const val SIGNATURE = 64
private const val COMMENT = "trusted comment: "
private const val PIECE = 1 shl 16

/** What stands before the 32 bytes of an Ed25519 key in the form of X.509 (RFC 8410). */
private val X509 = byteArrayOf(0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00)

/** Minisign's public key, as the 56 characters from RW on that stand in a `.pub` file. */
public data class MinisignKey(public val text: String) {
    private val bytes = decoded(text, ALGORITHM + ID + KEY)

    init {
        if (bytes == null || !bytes.startsWith("Ed")) {
            throw InputException("The key \"$text\" is no public key. It has 56 characters, from RW on.")
        }
    }

    internal val id: List<Byte> get() = checkNotNull(bytes).slice(ALGORITHM until ALGORITHM + ID)

    /** @throws NoSuchAlgorithmException this Android has no Ed25519. */
    internal fun inJava(): PublicKey {
        val point = checkNotNull(bytes).copyOfRange(ALGORITHM + ID, bytes.size)
        return KeyFactory.getInstance("Ed25519").generatePublic(X509EncodedKeySpec(X509 + point))
    }
}

/** A signature file of Minisign's, over a file's BLAKE2b-512; what it says is true once it is verified. */
public class MinisignSignature private constructor(
    private val keyId: List<Byte>,
    private val ofFile: ByteArray,
    private val ofBoth: ByteArray,
    /** When and as what the file was signed, in its maker's words. */
    public val trustedComment: String,
) {
    /** The key that the comment names, as `cbpnet-mobile sign` has it, or null. */
    public val namedKey: MinisignKey?
        get() = trustedComment.split('\t').find { it.startsWith("key:") }?.let { MinisignKey(it.drop("key:".length)) }

    internal fun isBy(key: MinisignKey): Boolean = key.id == keyId

    /**
     * Checks that a file is what the holder of a key has signed.
     *
     * @throws InputException it is not, the signature is another key's, or this Android cannot tell.
     */
    public fun verify(file: File, key: MinisignKey) {
        if (!isBy(key)) {
            throw InputException("The file ${file.name} is signed by another key than ${key.text}. Ask who made it.")
        }
        val digest = blake2b(file)
        val right = try {
            val public = key.inJava()
            isRight(public, digest, ofFile) && isRight(public, ofFile + trustedComment.toByteArray(), ofBoth)
        } catch (error: NoSuchAlgorithmException) {
            throw InputException("This Android cannot verify signatures; Android 13 and later can.", error)
        } catch (_: GeneralSecurityException) {
            false // what is no signature at all is refused with an exception
        }
        if (!right) {
            throw InputException(
                "The file ${file.name} is not what was signed: it or its signature was changed. Copy both again.",
            )
        }
    }

    public companion object {
        /** Whether a file that begins so is meant to be a signature. */
        public fun beginsSo(start: ByteArray): Boolean = start.startsWith("untrusted comment:")

        /** @throws InputException the text is no such signature. */
        public fun parse(text: String): MinisignSignature {
            val lines = text.removeSuffix("\n").split('\n')
            val first = lines.getOrNull(1)?.let { decoded(it, ALGORITHM + ID + SIGNATURE) }
            val last = lines.getOrNull(3)?.let { decoded(it, SIGNATURE) }
            val comment = lines.getOrNull(2)
            if (lines.size != 4 || first == null || last == null || comment?.startsWith(COMMENT) != true) {
                throw InputException("The signature is not in Minisign's format. Copy it again.")
            }
            if (!first.startsWith("ED")) {
                throw InputException("The signature is in Minisign's old form. Sign the file again.")
            }
            val id = first.slice(ALGORITHM until ALGORITHM + ID)
            return MinisignSignature(id, first.copyOfRange(ALGORITHM + ID, first.size), last, comment.drop(COMMENT.length))
        }
    }
}

private fun isRight(key: PublicKey, message: ByteArray, signature: ByteArray): Boolean =
    Signature.getInstance("Ed25519").run {
        initVerify(key)
        update(message)
        verify(signature)
    }

private fun blake2b(file: File): ByteArray {
    val digest = Blake2b()
    val piece = ByteArray(PIECE)
    try {
        file.inputStream().use { stream ->
            while (true) {
                val count = stream.read(piece)
                if (count < 0) break
                digest.update(piece, count)
            }
        }
    } catch (error: IOException) {
        throw InputException("The file ${file.name} cannot be read: ${error.message}.", error)
    }
    return digest.digest()
}

private fun decoded(text: String, size: Int): ByteArray? = try {
    Base64.getDecoder().decode(text).takeIf { it.size == size }
} catch (_: IllegalArgumentException) {
    null
}

private fun ByteArray.startsWith(name: String): Boolean = copyOf(name.length).contentEquals(name.toByteArray())
