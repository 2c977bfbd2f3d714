package cbpnet.core

import java.io.File
import org.junit.Assert.assertEquals
import org.junit.Assert.assertFalse
import org.junit.Assert.assertNull
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Rule
import org.junit.Test
import org.junit.rules.TemporaryFolder

class MakersKeyTest {
    @get:Rule val folder = TemporaryFolder()

    private val maker by lazy { MakersKey(File(folder.root, "maker")) }
    private val bundle by lazy { folder.newFile("pets.pte").apply { writeText("a bundle") } }
    private val signature = MinisignSignature.parse(SignedFile.ofOurs)
    private val other = MinisignKey("RWQC/XemneQta4ByA3NcfnP/X919ebqtkg4coaphu3n7XwYPl81KuAyw")

    @Test
    fun whatWasNeverSignedIsUsed() {
        assertNull(maker.check(bundle, null, accepted = false))
    }

    @Test
    fun theFirstKeyIsAskedOfTheNextBundle() {
        assertEquals(SignedFile.key, maker.check(bundle, signature, accepted = false))
        maker.remember(SignedFile.key)
        assertEquals(SignedFile.key, maker.known)
        assertEquals(SignedFile.key, maker.check(bundle, signature, accepted = false))
        // Minisign's own names no key, and is known by then.
        maker.check(bundle, MinisignSignature.parse(SignedFile.ofMinisign), accepted = false)
    }

    @Test
    fun anotherMakerIsAskedAbout() {
        maker.remember(other)
        for (signed in listOf(signature, null)) {
            val error = assertThrows(AnotherMakerException::class.java) { maker.check(bundle, signed, accepted = false) }
            assertTrue(error.message, other.text in error.message.orEmpty())
        }
        assertEquals(SignedFile.key, maker.check(bundle, signature, accepted = true))
        assertNull(maker.check(bundle, null, accepted = true))
    }

    @Test
    fun aWrongSignatureIsRefusedWhateverIsAccepted() {
        bundle.writeText("another")
        for (accepted in listOf(false, true)) {
            val error = assertThrows(InputException::class.java) { maker.check(bundle, signature, accepted) }
            assertFalse(error is AnotherMakerException)
        }
    }

    @Test
    fun aSignatureThatNamesNoKeyIsNotVerifiedByAnyone() {
        val theirs = MinisignSignature.parse(SignedFile.ofMinisign)
        assertThrows(InputException::class.java) { maker.check(bundle, theirs, accepted = false) }
    }

    @Test
    fun aBundleWithoutASignatureLeavesNoKey() {
        maker.remember(other)
        maker.remember(null)
        assertNull(maker.known)
    }
}
