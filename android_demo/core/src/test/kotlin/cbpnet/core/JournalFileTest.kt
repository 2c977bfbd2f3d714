package cbpnet.core

import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Test

/** A journal in a state file. */
class JournalFileTest {
    private val bundle = FakeOnePassBundle()
    private val session = LearningSession(bundle.program(), null)

    init {
        val settings = TrainingSettings(batchSize = 3)
        session.learn(mapOf("röd" to reds(3)), settings, source = "a shelf")
        session.learn(mapOf("green" to greens(2), "blue" to blues(2)), settings)
        session.relabel(blues(1), "green")
        session.undo()
    }

    private val file = Safetensors.parse(session.exportState())
    private val info = parseJson(file.metadata.getValue("info"))
    private val journal = info.child("progress").child("journal")

    private fun known(of: LearningSession) = of.knowledge.state.mapValues { it.value.values.toList() }

    @Test
    fun everythingComesBackAndCanBeUndoneThere() {
        val other = LearningSession(FakeOnePassBundle().program(), null)
        other.importState(session.exportState(), "it")
        assertArrayEquals(session.exportState(), other.exportState())
        for (step in listOf(LearningSession::redo, LearningSession::undo, LearningSession::undo)) {
            listOf(session, other).forEach { step(it) }
            assertEquals(known(session), known(other))
        }
        assertEquals(listOf("röd"), other.knowledge.classNames)
        assertEquals("a shelf", (other.history.single() as Taught).source)
    }

    @Test
    fun theFileIsAsTheBundlesPageSays() {
        val shapes = file.tensors.filterKeys { it.startsWith("journal.") && "base" !in it }
            .mapValues { (_, tensor) -> "${tensor.type} ${tensor.shape}" }
        val expected = mapOf(
            "journal.0.labels" to "I32 [3]", "journal.0.pictures" to "U64 [3]", "journal.0.x" to "F16 [3, 3]",
            "journal.1.labels" to "I32 [4]", "journal.1.pictures" to "U64 [4]", "journal.1.x" to "F16 [4, 3]",
            "journal.1.adapted.prompts.g" to "F32 [1, 2, 1, 3]", "journal.1.drift.moved" to "F32 [3]",
            "journal.1.drift.pairs" to "F32 [1]", "journal.1.drift.count" to "F32 [0]",
            "journal.1.drift.before" to "F32 [0, 3]", "journal.1.drift.after" to "F32 [0, 3]",
        )
        assertEquals(expected, shapes)
        val base = file.tensors.keys.filter { it.startsWith("journal.base.") }.map { it.substringAfter("base.") }
        assertEquals(setOf("readout.prior", "readout.scale", "unknown.threshold"), base.toSet()) // not zeros
        assertEquals(listOf("taught", "taught", "relabel"), journal.children("events").map { it.text("kind") })
        val numbers = listOf("head", "settled", "limit").map(journal::integer)
        assertEquals(listOf(2, 0, 8388608), numbers)
        val relabelled = journal.children("events")[2].items("pictures").single().toString()
        val image = prepare(blues(1)[0].image(), bundle.manifest.preprocessing)
        assertEquals(pictureKey(image).toString(), relabelled)
        val taught = journal.children("events")[1]
        assertEquals("first", taught.text("reason"))
        assertEquals(listOf(2, 2), taught.integers("counts"))
        assertEquals(16, taught.text("id").length)
    }

    @Test
    fun whereTheJournalRestsOnTheStateItsBaseIsLeftOut() {
        session.learn(mapOf("green" to greens(3).drop(2)), journal = 0)
        val tensors = Safetensors.parse(session.exportState()).tensors
        assertTrue(tensors.keys.none { it.startsWith("journal.") })
        val other = LearningSession(FakeOnePassBundle().program(), null)
        other.importState(session.exportState(), "it")
        other.forget("blue")
        assertEquals(listOf("röd", "green"), other.knowledge.classNames)
    }

    @Test
    fun aStateWithoutAJournalIsWhereOneStarts() {
        val progress = JsonObject(info.child("progress").entries - "journal")
        val plain = Safetensors(file.metadata, file.tensors.filterKeys { !it.startsWith("journal.") })
        session.importState(withInfo(JsonObject(info.entries + ("progress" to progress)), plain), "it")
        val before = known(session)
        assertThrows(InputException::class.java) { session.undo() }
        session.learn(mapOf("green" to greens(3).drop(2)))
        session.undo()
        assertEquals(before, known(session))
        assertEquals(listOf("röd", "green", "blue"), session.knowledge.classNames)
    }

    @Test
    fun aJournalOfLessCapacityGrows() {
        val larger = LearningSession(FakeOnePassBundle(classes = 9).program(), null)
        larger.importState(session.exportState(), "it")
        larger.redo()
        session.redo()
        assertEquals(session.knowledge.classNames, larger.knowledge.classNames)
        assertEquals(9, larger.knowledge.journal!!.base.getValue("classes.count").values.size)
        val mean = known(session).getValue("classes.mean")
        assertEquals(mean, known(larger).getValue("classes.mean").take(mean.size))
    }

    @Test
    fun contradictionsAreDamage() {
        fun damaged(change: Map<String, Json> = emptyMap(), tensors: Map<String, StoredTensor> = file.tensors) {
            val progress = JsonObject(info.child("progress").entries + ("journal" to JsonObject(journal.entries + change)))
            val changed = JsonObject(info.entries + ("progress" to progress))
            val bytes = withInfo(changed, Safetensors(file.metadata, tensors))
            assertThrows(DamagedStateException::class.java) { session.importState(bytes, "it") }
        }
        for ((key, value) in listOf("head" to 4, "settled" to 3, "head" to -1, "limit" to -1)) {
            damaged(mapOf(key to JsonNumber(value)))
        }
        damaged(mapOf("base_names" to JsonArray(listOf(JsonText("a")))))
        val events = journal.children("events")
        fun event(number: Int, change: Pair<String, Json>) = mapOf(
            "events" to JsonArray(events.mapIndexed { i, one -> if (i == number) JsonObject(one.entries + change) else one }),
        )
        damaged(event(0, "reason" to JsonText("a whim")))
        damaged(event(0, "names" to JsonArray(emptyList())))
        damaged(event(1, "kept" to JsonArray(listOf(JsonText("röd")))))
        damaged(event(2, "kind" to JsonText("praise")))
        damaged(event(2, "pictures" to JsonArray(listOf(JsonNumber(-1)))))
        fun tensor(name: String, tensor: StoredTensor) = damaged(tensors = file.tensors + (name to tensor))
        tensor("journal.0.labels", StoredTensor.ofIntegers(listOf(0, 0, 1)))
        tensor("journal.0.labels", StoredTensor.ofIntegers(listOf(0, 0)))
        tensor("journal.0.x", StoredTensor.of(HalfRows(ShortArray(9) { 0x7C00 }, 3))) // infinite
        tensor("journal.0.x", StoredTensor.of(FloatTensor.zeros(listOf(3, 3))))
        tensor("journal.1.adapted.prompts.g", StoredTensor.of(number(1f)))
        tensor("journal.1.adapted.classes.mean", file.tensors.getValue("classes.mean"))
        tensor("journal.1.drift.more", StoredTensor.of(number(1f)))
        tensor("journal.7.x", file.tensors.getValue("journal.0.x"))
        tensor("journal.base.readout.prior", StoredTensor.of(number(Float.NaN)))
        tensor("journal.base.more", StoredTensor.of(number(1f)))
        for (name in listOf("journal.0.x", "journal.0.pictures", "journal.1.drift.pairs")) {
            damaged(tensors = file.tensors - name)
        }
    }
}
