package cbpnet.core

import java.io.File
import java.nio.file.Files
import org.junit.Assert.assertArrayEquals
import org.junit.Assert.assertEquals
import org.junit.Assert.assertFalse
import org.junit.Assert.assertSame
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Assume.assumeTrue
import org.junit.Rule
import org.junit.Test
import org.junit.rules.TemporaryFolder

/** What people do, and the sentences that they get. */
class BadInputTest {
    @get:Rule val folder = TemporaryFolder()

    private val program = FakeBundle(classes = 3).program()
    private val store by lazy { StateStore(File(folder.root, "state")) }
    private val session by lazy {
        LearningSession(program, store).also { it.learn(mapOf("cup" to reds(2)), settings) }
    }
    private val settings = TrainingSettings(epochs = 1)

    @Test
    fun noPictures() {
        refused("There are no pictures of \"pen\". Take some: 10 to 30 are good.", "pen" to emptyList())
        refused("There are no pictures to learn from. Take some first.")
    }

    @Test
    fun fiveHundredPictures() {
        val pictures = greens(3)
        refused(
            "500 pictures are too many for one lesson. Delete some, until there are at most 300.",
            "pen" to List(500) { pictures[it % 3] },
        )
        assertTrue("none of them was decoded", pictures.all { it.decoded == 0 })
    }

    @Test
    fun aPictureThatCannotBeDecoded() {
        val broken = object : Picture {
            override val name = "IMG_7.jpg"

            override fun decode(): RgbImage = throw java.io.IOException("the file ends too early")
        }
        refused(
            "The picture IMG_7.jpg cannot be used (the file ends too early). Delete it.",
            "pen" to greens(2) + broken,
        )
    }

    @Test
    fun aNameThatIsEmptyOrExists() {
        refused("The name is empty. Type what the thing is called.", "" to greens(1))
        val known = session.knowledge.classNames
        assertEquals(
            "There is a class \"cup\" already. Choose another name, or teach that class more pictures.",
            assertThrows(InputException::class.java) { checkNewLabel("cup", known) }.message,
        )
        refused(
            "The name \"Cup\" is the same as \"cup\" but for capitals or accents' form. Choose another name, or " +
                "teach \"cup\" more pictures.",
            "Cup" to greens(1),
        )
        assertThrows(IllegalArgumentException::class.java) { session.learn(mapOf(" pen" to greens(1)), settings) }
    }

    @Test
    fun moreClassesOrTasksThanTheBundleHas() {
        refused(
            "a, b, c: there is room for 2 more of 3 classes. Forget one, or export a bundle with room for more.",
            "a" to greens(1), "b" to greens(1), "c" to greens(1),
        )
        session.learn(mapOf("pen" to greens(1)), settings)
        refused(
            "All 2 tasks of the bundle are in use, so that no new one can be begun. Let the new class join the last " +
                "one, forget all classes of one, or export a bundle with room for more.",
            "key" to blues(1),
        )
        session.learn(mapOf("key" to blues(1)), settings, joinedTask = 2)
        assertEquals(3, session.knowledge.classNames.size)
    }

    @Test
    fun aQuestionBeforeAnythingIsKnown() {
        val error = assertThrows(InputException::class.java) {
            LearningSession(program, null).predict(listOf(reds(1)[0].image()))
        }
        assertEquals("Nothing has been learnt yet. Teach a class first.", error.message)
    }

    @Test
    fun storageThatFillsUpWhileItLearns() {
        val full = File("/dev/full")
        assumeTrue("this system has no /dev/full", full.exists())
        session
        val old = store.file.readBytes()
        Files.createSymbolicLink(File(store.file.path + ".new").toPath(), full.toPath())
        val error = assertThrows(StorageException::class.java) { session.learn(mapOf("pen" to greens(1)), settings) }
        assertTrue(error.message!!, error.message!!.startsWith("What was learnt could not be saved ("))
        assertTrue(error.message!!, error.message!!.endsWith("MB of storage and save again."))
        assertArrayEquals(old, store.file.readBytes())
        assertTrue(session.unsaved)
        assertEquals("pen", session.predict(listOf(greens(1)[0].image()))[0].best.label)
        session.save()
        assertFalse(session.unsaved)
        assertEquals(listOf("cup", "pen"), LearningSession(program, store).knowledge.classNames)
    }

    @Test
    fun storageThatIsFullBefore() {
        val without = File("/proc")
        assumeTrue("this system has no file system without room", without.exists() && without.usableSpace == 0L)
        val pictures = greens(2)
        val session = LearningSession(program, StateStore(File(without, "folder/state")))
        val error = assertThrows(StorageException::class.java) { session.learn(mapOf("pen" to pictures), settings) }
        assertTrue(error.message!!, error.message!!.startsWith("The storage is full: to keep what is learnt, "))
        assertTrue("nothing was done in vain", pictures.all { it.decoded == 0 })
    }

    @Test
    fun aStateThatIsDamagedOrForeign() {
        val known = session.knowledge
        val bytes = session.exportState()
        val damaged = bytes.copyOf().also { it[it.size - 5] = 99 }
        val messages = listOf(damaged, bytes.copyOf(900), "holiday.jpg".toByteArray()).map { content ->
            assertThrows(DamagedStateException::class.java) { session.importState(content, "gift") }.message!!
        }
        assertEquals(
            "The file gift is damaged or no state of a learner: its checksum does not match. Use an intact copy.",
            messages[0],
        )
        assertTrue(messages.toString(), messages.all { it.startsWith("The file gift is damaged or no state") })
        val other = LearningSession(FakeBundle(weights = "f".repeat(16)).program(), null)
        val foreign = assertThrows(InputException::class.java) { other.importState(bytes, "gift") }
        assertEquals(
            "The state gift belongs to another bundle: its backbone's weights are not the bundle's (weights: " +
                "\"0123456789abcdef\" instead of \"ffffffffffffffff\"). Choose the bundle that it was learnt with.",
            foreign.message,
        )
        assertSame(known, session.knowledge)
    }

    private fun refused(message: String, vararg pictures: Pair<String, List<Picture>>) {
        val before = session.knowledge
        val error = assertThrows(InputException::class.java) { session.learn(mapOf(*pictures), settings) }
        assertEquals(message, error.message)
        assertSame(before, session.knowledge)
    }
}
