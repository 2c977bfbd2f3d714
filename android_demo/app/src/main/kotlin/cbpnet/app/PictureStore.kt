package cbpnet.app

import cbpnet.core.StorageException
import java.io.File
import java.io.IOException
import java.security.MessageDigest

/**
 * Pictures on the phone: those that wait to be learnt, by class, and of each learnt class one.
 *
 * Pictures wait here until their lesson has been saved, so that neither a crash nor the system's
 * ending of the app costs them.
 */
class PictureStore(folder: File) {
    private val waiting = File(folder, "waiting")
    private val learnt = File(folder, "learnt")

    /** The labels of which pictures wait, the oldest first. */
    fun labels(): List<String> = waiting.listFiles().orEmpty()
        .filter { picturesIn(it).isNotEmpty() }
        .sortedBy { File(it, LABEL).lastModified() }
        .map { File(it, LABEL).readText() }

    /** The pictures of a class that wait, the oldest first. */
    fun waiting(label: String): List<File> = picturesIn(File(waiting, key(label)))

    /**
     * Keeps a picture of a class, a JPEG file's bytes, until it is learnt.
     *
     * @throws StorageException there is no room for it.
     */
    fun add(label: String, jpeg: ByteArray) {
        val folder = File(waiting, key(label))
        val number = waiting(label).lastOrNull()?.nameWithoutExtension?.toInt() ?: 0
        val picture = File(folder, "%05d.jpg".format(number + 1))
        try {
            folder.mkdirs()
            val name = File(folder, LABEL)
            if (!name.exists()) name.writeText(label)
            picture.writeBytes(jpeg)
        } catch (error: IOException) {
            picture.delete()
            throw StorageException("The picture could not be kept (${error.message}). Free some storage and try again.", error)
        }
    }

    /** Deletes what waits of a class. */
    fun discard(label: String) {
        File(waiting, key(label)).deleteRecursively()
    }

    /** The picture that stands for a learnt class, or null. */
    fun thumbnail(label: String): File? = File(learnt, key(label)).takeIf(File::exists)

    /** Of classes that have been learnt, keeps one picture and deletes the others. */
    fun learnt(labels: Collection<String>) {
        learnt.mkdirs()
        for (label in labels) {
            if (thumbnail(label) == null) waiting(label).firstOrNull()?.renameTo(File(learnt, key(label)))
            discard(label)
        }
    }

    /** Follows a class's new name. */
    fun rename(label: String, new: String) {
        File(learnt, key(label)).renameTo(File(learnt, key(new)))
        for (picture in waiting(label)) add(new, picture.readBytes())
        discard(label)
    }

    /** Deletes everything of a class. */
    fun forget(label: String) {
        File(learnt, key(label)).delete()
        discard(label)
    }

    private fun picturesIn(folder: File): List<File> =
        folder.listFiles { file -> file.extension == "jpg" }.orEmpty().sortedBy(File::getName)

    /** A file name for a label, which may have any letters. */
    private fun key(label: String): String =
        MessageDigest.getInstance("SHA-256").digest(label.toByteArray()).take(KEY_BYTES).joinToString("") { "%02x".format(it) }

    private companion object {
        const val LABEL = "label.txt"
        const val KEY_BYTES = 8
    }
}
