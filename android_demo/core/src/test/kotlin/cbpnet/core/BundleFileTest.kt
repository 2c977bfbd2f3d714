package cbpnet.core

import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.security.MessageDigest
import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Rule
import org.junit.Test
import org.junit.rules.TemporaryFolder

class BundleFileTest {
    @get:Rule val folder = TemporaryFolder()

    private val program = ByteArray(200_000) { (it * 31).toByte() }
    private val manifest = FakeBundle().manifestJson.toString().toByteArray()
    private val bundle = sealed(program + manifest, 4, manifest.size)

    @Test
    fun anIntactBundleSaysWhatItIs() {
        assertEquals(FakeBundle().manifestJson, readManifest(file(bundle)).source)
    }

    @Test
    fun aFlippedBitAnywhereIsFound() {
        val end = bundle.size
        for (place in listOf(0, 65_535, 65_536, 199_999, 200_001, end - 49, end - 40, end - 36, end - 1)) {
            val damaged = bundle.copyOf().also { it[place] = (it[place].toInt() xor 1).toByte() }
            refused(damaged, "damaged")
        }
    }

    @Test
    fun whatIsNoBundleIsCalledSo() {
        val cut = listOf(bundle.copyOf(bundle.size - 1), bundle.copyOf(100_000))
        for (other in cut + listOf(ByteArray(0), ByteArray(47), program)) {
            refused(other, "not a bundle")
        }
    }

    @Test
    fun anotherFormatIsNotTakenForDamage() {
        refused(sealed(program, 5, 0), "version 5", "newer", "Update the app")
        for (older in 1..3) {
            refused(sealed(program, older, 0), "version $older", "older", "Export the bundle again")
        }
    }

    @Test
    fun aManifestLongerThanItsFileIsRefused() {
        val there = program.size + manifest.size
        for (length in listOf(there + 1, Int.MAX_VALUE, -1)) {
            val said = length.toUInt().toString()
            refused(sealed(program + manifest, 4, length), said, "at most $there", "Export the bundle again")
        }
    }

    @Test
    fun aHugeManifestIsNotRead() {
        val size = (1 shl 22) + 1
        refused(sealed(ByteArray(size), 4, size), "4194305 bytes", "at most 4194304")
    }

    @Test
    fun aManifestOfAnotherLengthThanSaidIsRefused() {
        for (length in listOf(0, 1, manifest.size - 1, manifest.size + 1)) {
            refused(sealed(program + manifest, 4, length), "cannot be read", "Export the bundle again")
        }
    }

    @Test
    fun aMissingFileIsNamed() {
        val error = assertThrows(InputException::class.java) { readManifest(File(folder.root, "none.pte")) }
        assertTrue(error.message!!, "none.pte" in error.message!!)
    }

    private fun refused(bytes: ByteArray, vararg words: String) {
        val error = assertThrows(InputException::class.java) { readManifest(file(bytes)) }
        for (word in words) assertTrue(error.message!!, word in error.message!!)
    }

    private fun file(bytes: ByteArray) = File(folder.root, "my.pte").apply { writeBytes(bytes) }

    /** What a file of any version ends in; [number] is 0, or the bytes of the manifest. */
    private fun sealed(start: ByteArray, version: Int, number: Int): ByteArray {
        val head = ByteBuffer.allocate(16).order(ByteOrder.LITTLE_ENDIAN)
        head.put("CBPNETMB".toByteArray()).putInt(version).putInt(number)
        val content = start + head.array()
        return content + MessageDigest.getInstance("SHA-256").digest(content)
    }
}
