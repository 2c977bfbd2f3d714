package cbpnet.conformance

import cbpnet.core.Normaliser
import cbpnet.core.Preprocessing
import cbpnet.core.child
import cbpnet.core.children
import cbpnet.core.prepare
import cbpnet.core.text
import java.io.File
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertTrue
import org.junit.Test

/** Photographs of odd sizes, turned, and transparent, as Pillow and torch prepare them. */
class PixelsTest {
    private val folder = File(vectors, "pixels")

    @Test
    fun everyPixelIsPillowsAndEveryNumberTorchs() {
        val expected = readTensors(File(folder, "expected.safetensors")).tensors.mapValues { it.value.floats() }
        val cases = readJson(File(folder, "cases.json")).children("cases")
        assertTrue(cases.size > 30)
        for (case in cases) {
            val preprocessing = Preprocessing.read(case.child("preprocessing"))
            val found = prepare(PictureFile(File(folder, case.text("file"))).decode(), preprocessing)
            val key = case.text("tensor")
            val pixels = FloatArray(found.pixels.size) { (found.pixels[it].toInt() and 0xFF).toFloat() }
            assertArrayEquals(key, expected.getValue("$key/pixels").values, pixels, 0f)
            val numbers = Normaliser(preprocessing).tensor(listOf(found)).values
            assertArrayEquals(key, expected.getValue("$key/images").values, numbers, 0f)
        }
        println("pixels: ${cases.size} photographs, each pixel and each number equal to Python's")
    }
}
