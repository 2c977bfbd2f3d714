package cbpnet.core

import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.security.MessageDigest
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Test

class StateFileTest {
    private val manifest = FakeBundle().manifest
    private val knowledge = taught(FakeBundle())
    private val bytes = encodeState(knowledge, manifest)

    @Test
    fun everythingComesBack() {
        val read = decodeState(bytes, manifest, "s")
        assertEquals(listOf("röd", "green"), read.classNames)
        assertEquals(1, read.lessons)
        assertEquals(knowledge.state.keys.toList(), read.state.keys.toList())
        for ((name, tensor) in knowledge.state) {
            assertArrayEquals(name, tensor.values, read.state.getValue(name).values, 0f)
            assertEquals(tensor.shape, read.state.getValue(name).shape)
        }
    }

    /** A board that gets its state back tells by it that another host wrote it, and which lesson it has. */
    @Test
    fun aSavingIsCountedAndTheLessonOfAnInboxKept() {
        val session = LearningSession(FakeBundle().program(), null)
        session.importState(encodeState(knowledge.savedAs(Saving(7, "4d6f")), manifest), "from a board")
        session.rename("green", "blue")
        assertEquals(Saving(8, "4d6f"), decodeState(session.exportState(), manifest, "s").saving)
    }

    /** The checksum as docs/bundle.md has it, computed another way. */
    @Test
    fun theMetadataAreThoseOfTheBundlesPage() {
        val metadata = Safetensors.parse(bytes).metadata
        assertEquals(setOf("format", "format_version", "info", "sha256"), metadata.keys)
        assertEquals("cbpnet-mobile learner state" to "3", metadata["format"] to metadata["format_version"])
        val digest = MessageDigest.getInstance("SHA-256").apply { update(metadata.getValue("info").toByteArray()) }
        for (name in knowledge.state.keys.sorted()) {
            digest.update(name.toByteArray())
            for (value in knowledge.state.getValue(name).values) {
                digest.update(ByteBuffer.allocate(4).order(ByteOrder.LITTLE_ENDIAN).putFloat(value).array())
            }
        }
        assertEquals(digest.digest().joinToString("") { "%02x".format(it) }, metadata["sha256"])
        val info = parseJson(metadata.getValue("info"))
        val keys = "backbone weights dim preprocessing config classes tasks class_names progress"
        assertEquals(keys.split(" "), info.entries.keys.toList())
        assertTrue("r\\u00f6d" in metadata.getValue("info"))
    }

    @Test
    fun everyTruncationAndEveryFlippedBitIsDamage() {
        for (length in bytes.indices step 13) damaged(bytes.copyOf(length))
        for (place in bytes.indices step 7) {
            val flipped = bytes.copyOf().also { it[place] = (it[place].toInt() xor 1).toByte() }
            assertThrows("$place", InputException::class.java) { decodeState(flipped, manifest, "s") }
        }
        damaged(ByteArray(100))
        damaged("a picture".toByteArray())
    }

    @Test
    fun anotherSafetensorsFileIsNoState() {
        val weights = Safetensors(mapOf("format" to "pt"), knowledge.state.mapValues { StoredTensor.of(it.value) }).toBytes()
        assertTrue("not the state of a learner" in refused(weights))
    }

    @Test
    fun anotherFormatVersionIsCalledSo() {
        val file = Safetensors.parse(bytes)
        fun refused(version: String) =
            refused(Safetensors(file.metadata + ("format_version" to version), file.tensors).toBytes())
        assertTrue(refused("4"), "Update the app" in refused("4"))
        val taughtAgain = "format version 2, whose readout was another one. Teach its classes again with a bundle"
        assertTrue(refused("2"), taughtAgain in refused("2"))
        assertTrue(refused("1"), "cbpnet-mobile move takes its classes over" in refused("1"))
    }

    @Test
    fun theStateOfAnotherBundleIsRefused() {
        val other = FakeBundle(weights = "ffffffffffffffff").manifest
        val message = assertThrows(InputException::class.java) { decodeState(bytes, other, "s") }.message!!
        assertTrue(message, "belongs to another bundle" in message && "0123456789abcdef" in message)
        val text = FakeBundle().manifestJson.toString().replace("0.0001", "0.002")
        val settings = Manifest.parse(text.toByteArray())
        val difference = assertThrows(InputException::class.java) { decodeState(bytes, settings, "s") }.message!!
        assertTrue(difference, "config.cbp.replacement_rate: 0.0001 instead of 0.002" in difference)
    }

    @Test
    fun aStateOfLessCapacityGrows() {
        val larger = FakeBundle(classes = 6, tasks = 3).manifest
        val grown = decodeState(bytes, larger, "s").state
        assertEquals(listOf(0f, 0f, -1f, -1f, -1f, -1f), grown.getValue("classes.task").values.toList())
        assertEquals(listOf(1f, 0f, 0f), grown.getValue("tasks.known").values.toList())
        val mean = knowledge.state.getValue("classes.mean").values
        assertEquals(mean.toList() + List(6) { 0f }, grown.getValue("classes.mean").values.toList())
        assertEquals(listOf(3, 1, 2, 1, 3), grown.getValue("prompts.e").shape)
    }

    @Test
    fun contradictionsAreDamage() {
        val taskOf = knowledge.state.getValue("classes.task")
        for (wrong in listOf(listOf(0f, -1f, 0f, -1f), listOf(0f, 2f, -1f, -1f), listOf(0f, 0f, 0f, -1f))) {
            val state = knowledge.state + ("classes.task" to FloatTensor(wrong.toFloatArray(), taskOf.shape))
            damaged(encodeState(Knowledge(state, knowledge.classNames, 1), manifest))
        }
        damaged(encodeState(Knowledge(knowledge.state - "adam.step", knowledge.classNames, 1), manifest))
        val flat = knowledge.state + ("classes.mean" to FloatTensor.zeros(listOf(12)))
        damaged(encodeState(Knowledge(flat, knowledge.classNames, 1), manifest))
    }

    private fun damaged(content: ByteArray) {
        val error = assertThrows(DamagedStateException::class.java) { decodeState(content, manifest, "mine") }
        assertTrue(error.message!!, "mine" in error.message!!)
    }

    private fun refused(content: ByteArray): String =
        assertThrows(InputException::class.java) { decodeState(content, manifest, "s") }.message!!
}

/** A state file with another `info`, and the checksum of it. */
internal fun withInfo(info: JsonObject, file: Safetensors): ByteArray {
    val digest = MessageDigest.getInstance("SHA-256").apply { update(info.toString().toByteArray()) }
    for ((name, tensor) in file.tensors.toSortedMap()) {
        digest.update(name.toByteArray())
        digest.update(tensor.bytes)
    }
    val changed = mapOf("info" to info.toString(), "sha256" to hex(digest.digest()))
    return Safetensors(file.metadata + changed, file.tensors).toBytes()
}

/** What a bundle knows after a lesson of two classes, one of them with an accent. */
internal fun taught(bundle: FakeBundle): Knowledge {
    val session = LearningSession(bundle.program(), null)
    session.learn(mapOf("röd" to reds(3), "green" to greens(2)), TrainingSettings(epochs = 1))
    return session.knowledge
}
