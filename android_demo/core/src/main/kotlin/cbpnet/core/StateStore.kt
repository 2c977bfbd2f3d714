package cbpnet.core

import java.io.File
import java.io.FileOutputStream
import java.io.IOException
import java.nio.channels.FileChannel
import java.nio.file.Files
import java.nio.file.StandardCopyOption.ATOMIC_MOVE
import java.nio.file.StandardOpenOption.READ
import java.security.MessageDigest
import java.util.Locale

/**
 * What has been saved.
 *
 * @property note where the newest file was damaged and an older one was taken: a sentence about it.
 */
public class Restored(public val knowledge: Knowledge, public val note: String?)

/**
 * Where an app keeps what its learner knows: a state file, and the one before it.
 *
 * A new file is complete and on the disc before it takes the old one's place, so that neither a
 * crash nor full storage costs more than the lesson that was being saved.
 *
 * @property file the newest state; `.previous` beside it is the one before, `.new` a half-written one.
 */
public class StateStore(public val file: File) {
    private val next = sibling("new")
    private val previous = sibling("previous")

    /**
     * Writes a state; after any failure what was saved before is as it was.
     *
     * @throws StorageException the file cannot be written, for instance for lack of room.
     */
    public fun save(knowledge: Knowledge, manifest: Manifest) {
        val bytes = encodeState(knowledge, manifest)
        try {
            file.absoluteFile.parentFile.mkdirs()
            FileOutputStream(next).use { stream ->
                stream.write(bytes)
                stream.fd.sync()
            }
            if (file.exists()) move(file, previous)
            move(next, file)
        } catch (error: IOException) {
            next.delete()
            throw StorageException(
                "What was learnt could not be saved (${error.message}). Free at least " +
                    "${megabytes(bytes.size.toLong())} MB of storage and save again.",
                error,
            )
        }
        flushFolder()
    }

    /**
     * Reads the newest intact state, or null where none has been saved.
     *
     * @throws DamagedStateException every file that is there is damaged.
     * @throws InputException the newest intact file belongs to another bundle or a newer app.
     */
    public fun load(manifest: Manifest): Restored? {
        var damage: DamagedStateException? = null
        // `next` is whole and wanted only where a crash came between two renamings.
        for (candidate in listOf(file, next, previous).filter(File::exists)) {
            try {
                val knowledge = decodeState(read(candidate), manifest, candidate.name)
                return Restored(knowledge, damage?.let { "${it.message} The state saved before it was taken instead." })
            } catch (error: DamagedStateException) {
                if (candidate == next) continue // a crash came while it was written
                if (damage == null) damage = error
                // Out of the way, so that the next save does not put it in the intact one's place.
                if (candidate == file) file.renameTo(sibling("damaged"))
            }
        }
        return damage?.let { throw it }
    }

    /**
     * Checks, before long work, that its outcome can be saved.
     *
     * @throws StorageException there is not enough room.
     */
    public fun checkRoom(manifest: Manifest) {
        val state = manifest.state.values.sumOf { 4L * elements(it.shape) }
        val journal = if (manifest.onePass) state + Journal.LIMIT else 0 // what its fold starts from, and lessons
        val needed = state + journal + HEADER_ALLOWANCE
        val free = generateSequence(file.absoluteFile.parentFile, File::getParentFile).first(File::exists).usableSpace
        if (free < needed) {
            throw StorageException(
                "The storage is full: to keep what is learnt, ${megabytes(needed)} MB are needed and " +
                    "${megabytes(free)} MB are free. Free some and try again.",
            )
        }
    }

    private fun sibling(suffix: String) = File("${file.path}.$suffix")

    private fun read(candidate: File): ByteArray = try {
        candidate.readBytes()
    } catch (error: IOException) {
        throw InputException("The state ${candidate.name} cannot be read: ${error.message}.", error)
    }

    private fun move(from: File, to: File) {
        Files.move(from.toPath(), to.toPath(), ATOMIC_MOVE)
    }

    /** Makes the new names survive a power cut; the files are complete, so a refusal is no failure. */
    private fun flushFolder() {
        try {
            FileChannel.open(file.absoluteFile.parentFile.toPath(), READ).use { it.force(true) }
        } catch (error: IOException) {
            return
        }
    }

    public companion object {
        private const val HEADER_ALLOWANCE = 1L shl 20
        private const val NAME_BYTES = 6

        /**
         * The store in a folder of the states that fit a bundle: bundles of one learner share a file,
         * as its int8 and fp32 forms do, and bundles of different learners do not touch each other's.
         */
        public fun of(folder: File, manifest: Manifest): StateStore {
            val digest = MessageDigest.getInstance("SHA-256").digest(stateIdentity(manifest).toString().toByteArray())
            return StateStore(File(folder, "${hex(digest.copyOf(NAME_BYTES))}.safetensors"))
        }

        private fun megabytes(bytes: Long): String = "%.1f".format(Locale.ROOT, bytes / 1e6)
    }
}
