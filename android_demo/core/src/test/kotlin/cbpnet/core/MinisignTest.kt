package cbpnet.core

import java.io.File
import java.security.MessageDigest
import org.junit.Assert.assertEquals
import org.junit.Assert.assertNull
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Rule
import org.junit.Test
import org.junit.rules.TemporaryFolder

class MinisignTest {
    @get:Rule val folder = TemporaryFolder()

    private val key = SignedFile.key
    private val other = MinisignKey("RWQC/XemneQta4ByA3NcfnP/X919ebqtkg4coaphu3n7XwYPl81KuAyw")
    private val ofMinisign = SignedFile.ofMinisign
    private val ofOurs = SignedFile.ofOurs
    private val file: File by lazy { folder.newFile("pets.pte").apply { writeText("a bundle") } }

    @Test
    fun whatWasSignedIsVerified() {
        for (text in listOf(ofMinisign, ofOurs)) MinisignSignature.parse(text).verify(file, key)
        assertEquals(key, MinisignSignature.parse(ofOurs).namedKey)
        assertNull(MinisignSignature.parse(ofMinisign).namedKey)
    }

    @Test
    fun aChangedFileIsRefused() {
        for (content in listOf("A bundle", "a bundle.", "a bundl", "")) {
            refused("is not what was signed") {
                file.writeText(content)
                MinisignSignature.parse(ofOurs).verify(file, key)
            }
        }
    }

    @Test
    fun anotherKeyIsRefused() {
        refused("signed by another key than RWQC") { MinisignSignature.parse(ofOurs).verify(file, other) }
        val forged = MinisignKey(key.text.take(14) + other.text.drop(14)) // of the same ID
        refused("is not what was signed") { MinisignSignature.parse(ofOurs).verify(file, forged) }
    }

    @Test
    fun eachChangedCharacterOfTheSignatureIsRefused() {
        val begin = ofOurs.indexOf('\n') + 1
        // Base64 has no use for the last bits before a padding.
        val places = (begin until ofOurs.length - 1).filter { ofOurs[it + 1] != '=' }
        for (place in places) {
            val changed = ofOurs.replaceRange(place, place + 1, if (ofOurs[place] == 'A') "B" else "A")
            assertThrows(InputException::class.java) { MinisignSignature.parse(changed).verify(file, key) }
        }
        assertTrue(places.size > 250)
    }

    @Test
    fun whatIsNoSignatureIsSaid() {
        val lines = ofOurs.split('\n')
        for (text in listOf("", "x", lines.take(3).joinToString("\n"), ofOurs + "more\n", ofOurs.replace("RUQ", "R*Q"))) {
            refused("not in Minisign's format") { MinisignSignature.parse(text) }
        }
        refused("old form") { MinisignSignature.parse(ofOurs.replace("RUQl", "RWQl")) }
        for (text in listOf("", "RW", key.text.drop(4), key.text.replace("RWQ", "RUQ"))) {
            refused("no public key") { MinisignKey(text) }
        }
        refused("cannot be read") { MinisignSignature.parse(ofOurs).verify(File(folder.root, "gone"), key) }
    }

    /** RFC 7693's own, and what Python's hashlib has for the lengths from 0 to 299. */
    @Test
    fun blake2bIsTheStandards() {
        assertEquals(
            "ba80a53f981c4d0d6a2797b69f12f6e94c212f14685ac4b74b12bb6fdbffa2d1" +
                "7d87c5392aab792dc252d5de4533cc9518d38aa8dbf1925ab92386edd4009923",
            hex(Blake2b().apply { update("abc".toByteArray()) }.digest()),
        )
        val all = MessageDigest.getInstance("SHA-256")
        for (length in 0 until 300) {
            val content = ByteArray(length) { (31 * it).toByte() }
            val whole = Blake2b().apply { update(content) }.digest()
            val parts = Blake2b().apply { content.forEach { update(byteArrayOf(it)) } }.digest()
            assertEquals(hex(whole), hex(parts))
            all.update(whole)
        }
        assertEquals("e816ce103a5d5760dcfe663260ddad0ef438178a7972bb05794e5d9717274d81", hex(all.digest()))
    }

    private fun hex(bytes: ByteArray) = bytes.joinToString("") { "%02x".format(it) }

    private fun refused(words: String, action: () -> Unit) {
        val error = assertThrows(InputException::class.java) { action() }
        assertTrue(error.message, words in error.message.orEmpty())
    }
}
