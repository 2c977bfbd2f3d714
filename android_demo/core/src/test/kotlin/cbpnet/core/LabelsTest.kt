package cbpnet.core

import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Test

class LabelsTest {
    @Test
    fun spacesAroundANameGo() {
        assertEquals("my cup", cleanLabel(" \u00a0my cup\t"))
        assertEquals("杯子 🥤", cleanLabel("杯子 🥤"))
        assertEquals("caf\u00e9", cleanLabel("cafe\u0301"))
    }

    @Test
    fun namesThatCannotBeUsedAreRefused() {
        for (typed in listOf("", "  ", "\n", "a\nb", "a\u0000b", "a\u2028b", "a\ud800", "x".repeat(61))) {
            assertThrows(typed, InputException::class.java) { cleanLabel(typed) }
        }
    }

    @Test
    fun aNameIsNewUnlessItCouldBeTakenForAKnownOne() {
        checkNewLabel("cup", listOf("cups", "mug"))
        val twins = listOf(
            "cup" to "cup", "cup" to "CUP", "caf\u00e9" to "cafe\u0301", "straße" to "STRASSE", "Σ" to "ς",
        )
        for ((known, label) in twins) {
            val labels = listOf("mug", known)
            val error = assertThrows(label, InputException::class.java) { checkNewLabel(label, labels) }
            assertTrue(error.message!!, "\"$known\"" in error.message!!)
        }
    }
}
