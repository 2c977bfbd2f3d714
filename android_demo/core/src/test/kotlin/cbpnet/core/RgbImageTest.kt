package cbpnet.core

import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Test

class RgbImageTest {
    /** EXIF 2.32, tag 0112: where the stored image's row 0 and column 0 belong. */
    @Test
    fun everyOrientationIsTurnedUpright() {
        val upright = listOf("abc", "def")
        val stored = mapOf(
            1 to listOf("abc", "def"),
            2 to listOf("cba", "fed"), // row 0 at the top, column 0 at the right
            3 to listOf("fed", "cba"), // bottom, right
            4 to listOf("def", "abc"), // bottom, left
            5 to listOf("ad", "be", "cf"), // left, top
            6 to listOf("cf", "be", "ad"), // right, top
            7 to listOf("fc", "eb", "da"), // right, bottom
            8 to listOf("da", "eb", "fc"), // left, bottom
        )
        for ((orientation, rows) in stored) {
            assertEquals("$orientation", upright, letters(image(rows).upright(orientation)))
        }
        assertEquals(upright, letters(image(upright).upright(9)))
        assertEquals(upright, letters(image(upright).upright(0)))
    }

    @Test
    fun aPartIsCut() {
        assertEquals(listOf("ef", "hi"), letters(image(listOf("abc", "def", "ghi")).cropped(1, 1, 2, 2)))
    }

    /** Porter and Duff's "over" on white, as Pillow rounds it. */
    @Test
    fun transparencyIsLaidOnWhite() {
        val image = RgbImage.fromArgb(4, 1, intArrayOf(-0x1000000 or 0x0a141e, 0x00123456, -0x7f000000, 0x01ff00ff))
        val expected = intArrayOf(10, 20, 30, 255, 255, 255, 126, 126, 126, 255, 254, 255)
        assertArrayEquals(ByteArray(12) { expected[it].toByte() }, image.pixels)
    }

    @Test
    fun anImageHasPixels() {
        for ((width, height, bytes) in listOf(Triple(0, 1, 0), Triple(2, 2, 11), Triple(-1, -1, 3))) {
            assertThrows(IllegalArgumentException::class.java) { RgbImage(width, height, ByteArray(bytes)) }
        }
    }

    private fun image(rows: List<String>): RgbImage {
        val letters = rows.joinToString("")
        val pixels = ByteArray(letters.length * 3) { (letters[it / 3].code + it % 3).toByte() }
        return RgbImage(rows[0].length, rows.size, pixels)
    }

    private fun letters(image: RgbImage): List<String> {
        val red = image.pixels.toList().chunked(3).onEach { assertEquals(it[0] + 2, it[2].toInt()) }.map { it[0] }
        return red.map { it.toInt().toChar() }.chunked(image.width).map { it.joinToString("") }
    }
}
