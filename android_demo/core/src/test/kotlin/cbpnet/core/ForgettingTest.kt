package cbpnet.core

import org.junit.Assert.assertEquals
import org.junit.Assert.assertThrows
import org.junit.Test

class ForgettingTest {
    private val bundle = FakeBundle(classes = 5, tasks = 3)
    private val session = LearningSession(bundle.program(), null)
    private val settings = TrainingSettings(epochs = 1)
    private val images = listOf(reds(1)[0].image(), greens(1)[0].image(), blues(1)[0].image())

    init {
        session.learn(mapOf("red" to reds(2)), settings)
        session.learn(mapOf("green" to greens(3), "blue" to blues(4)), settings)
        session.learn(mapOf("pink" to List(2) { Colour(220, 30, 220) }), settings)
    }

    private fun values(name: String) = session.knowledge.state.getValue(name).values.toList()

    @Test
    fun theOtherClassesAreKnownAsBefore() {
        session.forget("green")
        assertEquals(listOf("red", "blue", "pink"), session.knowledge.classNames)
        assertEquals(listOf(0f, 1f, 2f, -1f, -1f), values("classes.task"))
        assertEquals(listOf(2f, 4f, 2f, 0f, 0f), values("classes.count"))
        val found = session.predict(images)
        assertEquals(listOf("red", "blue"), listOf(found[0].best.label, found[2].best.label))
        assertEquals(listOf(1, 2), listOf(found[0].task, found[2].task))
    }

    @Test
    fun theLastClassOfATaskTakesItAlong() {
        val prompts = values("prompts.e").chunked(6)
        session.forget("red")
        assertEquals(listOf(0f, 0f, 1f, -1f, -1f), values("classes.task"))
        assertEquals(listOf(1f, 1f, 0f), values("tasks.known"))
        assertEquals(prompts.drop(1) + listOf(List(6) { 0f }), values("prompts.e").chunked(6))
        assertEquals(listOf(1f), values("tasks.current"))
        val lessons = session.learn(mapOf("red" to reds(2)), settings)
        assertEquals(listOf(Lesson(3, listOf("red"), emptyList(), 2)), lessons)
        assertEquals(listOf("red", "green", "blue"), session.predict(images).map { it.best.label })
    }

    @Test
    fun theCurrentTaskIsNoneAfterItHasGone() {
        session.forget("pink")
        assertEquals(listOf(-1f), values("tasks.current"))
        assertEquals(listOf(1f, 1f, 0f), values("tasks.known"))
    }

    @Test
    fun afterAllIsForgottenLearningCanBeginAgain() {
        for (label in listOf("red", "green", "blue", "pink")) session.forget(label)
        assertEquals(emptyList<String>(), session.knowledge.classNames)
        assertEquals(listOf(0f, 0f, 0f), values("tasks.known"))
        assertThrows(InputException::class.java) { session.predict(images) }
        // The prompt of the last task stays, as a start.
        assertEquals(0.5f, values("prompts.e")[1], 0f)
        val lessons = session.learn(mapOf("green" to greens(1)), settings)
        assertEquals(1, lessons.single().task)
        assertEquals("green", session.predict(images)[1].best.label)
    }

    /** As the manifest says which tensors have a row for each class or task, whatever they are called. */
    @Test
    fun rowsGoFromTheTensorsThatTheManifestNames() {
        val rows = FloatTensor(floatArrayOf(1f, 2f, 3f), listOf(3))
        val names = mapOf("a" to Counted.CLASSES, "b" to Counted.TASKS, "c" to null)
        val layout = session.manifest.state + names.mapValues { StateTensor(listOf(3), it.value) }
        val before = Knowledge(session.knowledge.state + names.mapValues { rows }, session.knowledge.classNames, 3)
        val state = forgetWithItsTask(before, "red", layout).state
        val found = names.keys.map { state.getValue(it).values.toList() }
        assertEquals(listOf(listOf(2f, 3f, 0f), listOf(2f, 3f, 0f), listOf(1f, 2f, 3f)), found)
    }

    @Test
    fun anUnknownClassCannotBeForgotten() {
        assertThrows(IllegalArgumentException::class.java) { session.forget("cup") }
    }
}
