package cbpnet.core

import java.io.File
import java.util.concurrent.CancellationException
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertNotEquals
import org.junit.Assert.assertSame
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Rule
import org.junit.Test
import org.junit.rules.TemporaryFolder

class LearningSessionTest {
    @get:Rule val folder = TemporaryFolder()

    private val bundle = FakeBundle()
    private val program = bundle.program()
    private val store by lazy { StateStore(File(folder.root, "state.safetensors")) }
    private val session by lazy { LearningSession(program, store) }
    private val settings = TrainingSettings(epochs = 2, batchSize = 3)

    @Test
    fun whatIsTaughtIsRecognised() {
        session.learn(mapOf("red" to reds(3), "green" to greens(2)), settings)
        session.learn(mapOf("blue" to blues(3)), settings)
        val found = session.predict(listOf(greens(1)[0].image(), reds(5)[4].image(), blues(1)[0].image()))
        assertEquals(listOf("green", "red", "blue"), found.map { it.best.label })
        assertEquals(listOf(1, 1, 2), found.map { it.task })
        for (prediction in found) {
            assertEquals(listOf("blue", "green", "red"), prediction.ranking.map { it.label }.sorted())
            assertEquals(1.0, prediction.ranking.sumOf { it.probability }, 1e-9)
            assertEquals(prediction.ranking.sortedByDescending { it.probability }, prediction.ranking)
        }
    }

    @Test
    fun aLessonCallsTheMethodsAsTheBundlesPageSays() {
        bundle.calls.clear()
        session.learn(mapOf("red" to reds(3), "green" to greens(2)), settings)
        val methods = bundle.calls.map { it.method } - "initial_state"
        val epoch = listOf("gradients", "gradients", "update", "gradients", "update")
        assertEquals(List(3) { "query" } + List(3) { "observe" } + "begin_task" + epoch + epoch, methods)

        val observed = bundle.calls.filter { it.method == "observe" }.map { it.labels() }
        assertEquals(listOf(listOf(0L, 0L), listOf(0L, 1L), listOf(1L, -1L)), observed)
        val begun = bundle.calls.single { it.method == "begin_task" }
        assertEquals(listOf(1f, 1f, 0f, 0f), begun.floats("members"))
        assertEquals(listOf(0f), begun.floats("task"))
        val steps = bundle.calls.filter { it.method == "gradients" }.map { it.labels() }
        val random = RandomStream(seed = 0, purpose = 1)
        val classes = listOf(0L, 0L, 0L, 1L, 1L)
        val noise = mutableListOf<Float>()
        val expected = List(2) {
            val order = random.permutation(5).map(classes::get)
            for (batch in listOf(3, 2)) {
                random.uniform(batch) // which images would be mirrored
                noise += random.uniform(3).first()
            }
            listOf(order.take(2), listOf(order[2], -1L), order.drop(3))
        }
        assertEquals(expected.flatten(), steps)
        val updates = bundle.calls.filter { it.method == "update" }
        assertEquals(listOf(3f, 2f, 3f, 2f), updates.map { it.floats("sums.count").single() })
        assertEquals(noise, updates.map { it.floats("noise").first() })
        assertTrue(updates.all { it.floats("rate") == listOf(1f) })
        assertEquals(4f, session.knowledge.state.getValue("adam.step").values.single(), 0f)
    }

    @Test
    fun paddingRepeatsTheLastImageAndItsQuery() {
        val bundle = FakeBundle(microBatch = 3)
        LearningSession(bundle.program(), null).learn(mapOf("red" to reds(1), "green" to greens(1)), settings)
        val call = bundle.calls.first { it.method == "gradients" }
        for (name in listOf("images", "query")) {
            val (first, second, third) = call.floats(name).let { it.chunked(it.size / 3) }
            assertEquals(second, third)
            assertNotEquals(first, second)
        }
        assertEquals(listOf(-1L, 0L, 1L), call.labels().sorted())
        assertEquals(-1L, call.labels().last())
    }

    @Test
    fun knownClassesAreLearntInTheirOwnTaskAndNewOnesInANewOne() {
        session.learn(mapOf("red" to reds(1)), settings)
        val lessons = session.learn(mapOf("green" to greens(2), "red" to reds(2)), settings)
        assertEquals(
            listOf(Lesson(1, emptyList(), listOf("red"), 2), Lesson(2, listOf("green"), emptyList(), 2)),
            lessons,
        )
        val joined = session.learn(mapOf("blue" to blues(1)), settings, joinedTask = 1)
        assertEquals(listOf(Lesson(1, listOf("blue"), emptyList(), 1)), joined)
        assertEquals(listOf(0, 1, 0), session.knowledge.classNames.map(session.knowledge::taskOf))
        assertEquals(listOf(3, 2, 1), session.knowledge.classNames.map(session.knowledge::imagesOf))
        assertEquals(3, session.knowledge.lessons)
    }

    @Test
    fun progressCountsEveryPictureOnceAndOnceAnEpoch() {
        val told = mutableListOf<Pair<Int, Int>>()
        val pictures = reds(5)
        session.learn(mapOf("red" to pictures), settings, progress = { done, total -> told += done to total })
        assertEquals(listOf(2, 4, 5, 8, 10, 13, 15), told.map { it.first })
        assertTrue(told.all { it.second == 15 })
        assertTrue(pictures.all { it.decoded == 1 })
    }

    @Test
    fun aCancelledLessonLeavesEverythingAsItWas() {
        session.learn(mapOf("red" to reds(2)), settings)
        val before = session.knowledge
        val file = store.file.readBytes()
        for (lastCall in 0..12) {
            var asked = 0
            assertThrows(CancellationException::class.java) {
                session.learn(mapOf("green" to greens(5)), settings, cancelled = { asked++ == lastCall })
            }
        }
        assertSame(before, session.knowledge)
        assertArrayEquals(file, store.file.readBytes())
        session.learn(mapOf("green" to greens(5)), settings, cancelled = { false })
        assertEquals(listOf("red", "green"), session.knowledge.classNames)
    }

    @Test
    fun aCrashInALessonCostsThatLessonOnly() {
        session.learn(mapOf("red" to reds(2)), settings)
        bundle.before = { if (it == "update") throw OutOfMemoryError("killed") }
        assertThrows(OutOfMemoryError::class.java) { session.learn(mapOf("green" to greens(2)), settings) }
        bundle.before = {}
        val reopened = LearningSession(program, store)
        assertEquals(listOf("red"), reopened.knowledge.classNames)
        assertEquals(null, reopened.note)
        reopened.learn(mapOf("green" to greens(2)), settings)
        assertEquals(listOf("red", "green"), LearningSession(program, store).knowledge.classNames)
    }

    @Test
    fun itIsOpenForPredictionsDuringALesson() {
        session.learn(mapOf("red" to reds(2)), settings)
        var seen: String? = null
        bundle.before = { method ->
            if (method == "update" && seen == null) {
                bundle.before = {}
                val predicting = Thread { seen = session.predict(listOf(greens(1)[0].image()))[0].best.label }
                predicting.start()
            }
        }
        session.learn(mapOf("green" to greens(2)), settings, progress = { _, _ -> Thread.sleep(20) })
        assertEquals("red", seen)
        assertEquals("green", session.predict(listOf(greens(1)[0].image()))[0].best.label)
    }

    @Test
    fun aRenamedClassKeepsWhatItIs() {
        session.learn(mapOf("red" to reds(2), "green" to greens(1)), settings)
        session.rename("red", "  Rot ")
        assertEquals(listOf("Rot", "green"), LearningSession(program, store).knowledge.classNames)
        assertEquals("Rot", session.predict(listOf(reds(1)[0].image()))[0].best.label)
        session.rename("Rot", "rot")
        assertEquals(listOf("rot", "green"), session.knowledge.classNames)
        assertThrows(InputException::class.java) { session.rename("rot", "Green") }
    }

    @Test
    fun aStateGoesToAnotherPhoneAndBack() {
        session.learn(mapOf("red" to reds(2)), settings)
        val bytes = session.exportState()
        val other = LearningSession(FakeBundle(classes = 9, tasks = 5).program(), null)
        other.importState(bytes, "from a friend")
        assertEquals("red", other.predict(listOf(reds(1)[0].image()))[0].best.label)
        assertEquals(1, other.knowledge.lessons)
        other.learn(mapOf("green" to greens(1)), settings)
        assertEquals(listOf(0, 1), other.knowledge.classNames.map(other.knowledge::taskOf))
        val tooLarge = assertThrows(InputException::class.java) { session.importState(other.exportState(), "larger") }
        assertTrue(tooLarge.message!!, "room for 9 classes in 5 tasks" in tooLarge.message!!)
        assertEquals(listOf("red"), session.knowledge.classNames)
    }
}
