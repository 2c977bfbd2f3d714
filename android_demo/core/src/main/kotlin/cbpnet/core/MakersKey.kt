package cbpnet.core

import java.io.File
import java.io.IOException
import java.nio.file.Files
import java.nio.file.StandardCopyOption

/** A bundle is not from whom the one before was; its message asks whether it is to be used all the same. */
public class AnotherMakerException(message: String) : InputException(message)

/** The key that signed the bundle in use, kept in a [file]: it is asked of the bundle that comes next. */
public class MakersKey(private val file: File) {
    /** The key, or null where the bundle in use was not signed. */
    public val known: MinisignKey?
        get() = if (file.exists()) MinisignKey(file.readText().trim()) else null

    /**
     * Checks who made a bundle, and returns the key to [remember] where it is used, or null for none.
     *
     * @param accepted whether a person has said that it may be from somebody else.
     * @throws AnotherMakerException the bundle in use was signed, and this one is by somebody else or nobody.
     * @throws InputException the signature is not right, names no key, or cannot be verified here.
     */
    public fun check(bundle: File, signature: MinisignSignature?, accepted: Boolean): MinisignKey? {
        val before = if (accepted) null else known
        if (signature == null) {
            if (before == null) return null
            throw AnotherMakerException(
                "This bundle has no signature, and the one before was signed by ${before.text}. Use it all the same?",
            )
        }
        val key = before?.takeIf(signature::isBy) ?: signature.namedKey ?: throw InputException(
            "The signature does not say which key verifies it. Sign the bundle with cbpnet-mobile sign.",
        )
        signature.verify(bundle, key)
        if (before != null && key != before) {
            throw AnotherMakerException(
                "This bundle is signed by ${key.text}, and the one before by ${before.text}. Use it all the same?",
            )
        }
        return key
    }

    /** Keeps the key of the bundle that is now in use, null for one without a signature. */
    public fun remember(key: MinisignKey?) {
        val part = File("${file.path}.part")
        try {
            if (key == null) {
                Files.deleteIfExists(file.toPath())
            } else {
                part.writeText(key.text)
                Files.move(part.toPath(), file.toPath(), StandardCopyOption.ATOMIC_MOVE)
            }
        } catch (error: IOException) {
            throw StorageException("Whose bundle it is could not be kept (${error.message}). Free some storage.", error)
        }
    }
}
