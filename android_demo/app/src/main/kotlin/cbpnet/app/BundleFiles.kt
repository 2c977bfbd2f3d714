package cbpnet.app

import android.content.res.AssetManager
import cbpnet.core.AnotherMakerException
import cbpnet.core.InputException
import cbpnet.core.MakersKey
import cbpnet.core.MinisignSignature
import cbpnet.core.StorageException
import cbpnet.core.readManifest
import java.io.File
import java.io.IOException
import java.io.InputStream

/** The bundle that came with the app, and the one that a person has chosen, which comes first. */
class BundleFiles(private val assets: AssetManager, private val folder: File) {
    private val chosen = File(folder, "chosen.pte")
    private val builtIn = File(folder, "built-in.pte")
    private val maker = MakersKey(File(folder, "chosen.pub"))

    /** Whether a person's own bundle is in use. */
    val isChosen: Boolean get() = chosen.exists()

    /** Whether the app came with a bundle. */
    val hasBuiltIn: Boolean get() = ASSET in assets.list("").orEmpty()

    /**
     * The bundle to be used, or null where there is none.
     *
     * @throws InputException there is no room to unpack it.
     */
    fun current(): File? = when {
        isChosen -> chosen
        hasBuiltIn -> builtIn.also(::unpack)
        else -> null
    }

    /**
     * Takes a bundle from outside, in place of the one chosen before, perhaps with its signature.
     *
     * @param accepted whether a person has said that it may be from another maker.
     * @throws AnotherMakerException it is not from whom the one chosen before was.
     * @throws InputException it is no bundle that this app can use, or there is no room for it; the
     *   one before stays.
     */
    fun choose(content: InputStream, signature: MinisignSignature?, accepted: Boolean) {
        val candidate = File(folder, "candidate.pte")
        try {
            copy(content, candidate)
            val key = maker.check(candidate, signature, accepted)
            readManifest(candidate)
            if (!candidate.renameTo(chosen)) throw StorageException("The bundle could not be kept. Try again.")
            maker.remember(key)
        } finally {
            candidate.delete()
        }
    }

    /** Goes back to the bundle that came with the app. */
    fun useBuiltIn() {
        chosen.delete()
        maker.remember(null)
    }

    /** An update of the app may have brought another bundle; it is told by its length. */
    private fun unpack(target: File) {
        if (target.length() == assets.openFd(ASSET).use { it.length }) return
        val part = File(folder, "unpacking.pte")
        assets.open(ASSET).use { copy(it, part) }
        part.renameTo(target)
    }

    private fun copy(content: InputStream, target: File) {
        folder.mkdirs()
        try {
            target.outputStream().use { stream ->
                content.copyTo(stream)
                stream.fd.sync()
            }
        } catch (error: IOException) {
            target.delete()
            throw StorageException("The bundle could not be copied (${error.message}). Free some storage and try again.", error)
        }
    }

    private companion object {
        const val ASSET = "bundle.pte"
    }
}
