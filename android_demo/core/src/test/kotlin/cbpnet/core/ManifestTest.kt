package cbpnet.core

import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Test

class ManifestTest {
    private val json = FakeBundle().manifestJson

    @Test
    fun everyEntryArrives() {
        val manifest = FakeBundle().manifest
        assertEquals("none", manifest.target)
        assertEquals(Backbone("colours", 1_000_000, 3, "0123456789abcdef"), manifest.backbone)
        val wanted = Preprocessing(4, listOf(0.5f, 0.5f, 0.5f), listOf(0.5f, 0.25f, 1f), Interpolation.BICUBIC, 1.0)
        assertEquals(wanted, manifest.preprocessing)
        assertEquals(listOf(4, 2, 2), listOf(manifest.classes, manifest.tasks, manifest.microBatch))
        assertEquals(2.4e-5, manifest.trainableFraction, 0.0)
        assertEquals(StateTensor(listOf(2, 1, 2, 1, 3), Counted.TASKS), manifest.state.getValue("prompts.e"))
        assertEquals(StateTensor(listOf(4, 3), Counted.CLASSES), manifest.state.getValue("head.weight"))
        assertEquals(StateTensor(listOf(1), null), manifest.state.getValue("adam.step"))
        val observe = manifest.method("observe")
        assertEquals(TensorInfo("labels", DType.INT64, listOf(2)), observe.inputs[1])
        assertEquals(listOf("state.classes.count", "state.classes.mean"), observe.outputs.map { it.name })
    }

    @Test
    fun unknownEntriesAreLeftAlone() {
        assertEquals(4, Manifest.parse(with("more", JsonText("x")).toByteArray()).classes)
    }

    @Test
    fun everyMissingEntryIsNamed() {
        for (key in json.entries.keys - listOf("image_size")) {
            val error = refused(JsonObject(json.entries - key).toString())
            assertTrue(error, "\"$key\" is missing" in error)
        }
    }

    @Test
    fun whatIsNoManifestIsRefused() {
        assertTrue("there should be a value" in refused("no JSON"))
        assertTrue("not a JSON object" in refused("[]"))
        assertTrue("\"target\" is missing" in refused("{}"))
        assertTrue("there should be less nesting" in refused("[".repeat(100_000)))
        assertTrue("not text in UTF-8" in refused(byteArrayOf('"'.code.toByte(), -1, '"'.code.toByte())))
    }

    @Test
    fun contradictionsAreRefused() {
        val without = JsonObject(json.child("methods").entries - "predict")
        assertTrue("predict is missing" in refused(with("methods", without)))
        assertTrue("\"tasks\" is 0" in refused(with("tasks", JsonNumber(0))))
        assertTrue("classes.task of 5" in refused(with("classes", JsonNumber(5))))
        assertTrue("twice" in refused(with("class_names", JsonArray(listOf(JsonText("a"), JsonText("a"))))))
        assertTrue("otherwise" in refused(with("micro_batch", JsonNumber(3))))
        val fewer = JsonArray(json.items("state").drop(1))
        assertTrue("prompts.e, which is not in" in refused(with("state", fewer)))
        assertTrue("counts \"rows\"" in refused(first("counts", JsonText("rows"))))
        assertTrue("prompts.e as [2, 1, 2, 1, 3]" in refused(first("counts", JsonText("classes"))))
        val turned = JsonArray(json.items("state").reversed())
        assertTrue("initial_state" in refused(with("state", turned)))
    }

    @Test
    fun impossiblePreprocessingIsRefused() {
        val wrong = mapOf(
            "crop_pct" to JsonNumber("0"), "std" to parseJson("""{"a": [0.5, 0, 0.5]}""")["a"],
            "mean" to JsonArray(emptyList()), "interpolation" to JsonText("lanczos"), "image_size" to JsonNumber(0),
        )
        for ((key, value) in wrong) {
            val preprocessing = JsonObject(json.child("preprocessing").entries + (key to value))
            refused(with("preprocessing", preprocessing))
        }
    }

    /** The manifest with another entry of its first state tensor, prompts.e. */
    private fun first(key: String, value: Json): String {
        val tensors = json.children("state")
        return with("state", JsonArray(listOf(JsonObject(tensors[0].entries + (key to value))) + tensors.drop(1)))
    }

    private fun with(key: String, value: Json) = JsonObject(json.entries + (key to value)).toString()

    private fun refused(text: String): String = refused(text.toByteArray())

    private fun refused(content: ByteArray): String =
        assertThrows(InputException::class.java) { Manifest.parse(content) }.message!!
}
