package cbpnet.core

import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.security.MessageDigest
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Rule
import org.junit.Test
import org.junit.rules.TemporaryFolder

class BundleFileTest {
    @get:Rule val folder = TemporaryFolder()

    private val program = ByteArray(200_000) { (it * 31).toByte() }

    @Test
    fun anIntactBundlePasses() = verifyBundle(file(sealed(version = 2)))

    @Test
    fun aFlippedBitAnywhereIsFound() {
        val bytes = sealed(version = 2)
        for (place in listOf(0, 65_535, 65_536, 199_999, bytes.size - 40, bytes.size - 36, bytes.size - 1)) {
            val damaged = bytes.copyOf().also { it[place] = (it[place].toInt() xor 1).toByte() }
            refused(damaged, "damaged")
        }
    }

    @Test
    fun whatIsNoBundleIsCalledSo() {
        val bytes = sealed(version = 2)
        val cut = listOf(bytes.copyOf(bytes.size - 1), bytes.copyOf(100_000))
        for (other in cut + listOf(ByteArray(0), ByteArray(47), program)) {
            refused(other, "not a bundle")
        }
    }

    @Test
    fun anotherFormatIsNotTakenForDamage() {
        refused(sealed(version = 3), "version 3", "newer", "Update the app")
        refused(sealed(version = 1), "version 1", "older", "Export the bundle again")
    }

    @Test
    fun aMissingFileIsNamed() {
        val error = assertThrows(InputException::class.java) { verifyBundle(File(folder.root, "none.pte")) }
        assertTrue(error.message!!, "none.pte" in error.message!!)
    }

    private fun refused(bytes: ByteArray, vararg words: String) {
        val error = assertThrows(InputException::class.java) { verifyBundle(file(bytes)) }
        for (word in words) assertTrue(error.message!!, word in error.message!!)
    }

    private fun file(bytes: ByteArray) = File(folder.root, "my.pte").apply { writeBytes(bytes) }

    private fun sealed(version: Int): ByteArray {
        val head = ByteBuffer.allocate(16).order(ByteOrder.LITTLE_ENDIAN)
        head.put("CBPNETMB".toByteArray()).putInt(version).putInt(0)
        val content = program + head.array()
        return content + MessageDigest.getInstance("SHA-256").digest(content)
    }
}
