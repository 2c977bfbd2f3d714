package cbpnet.core

import java.io.File
import java.nio.file.Files
import org.junit.Assert.assertEquals
import org.junit.Assert.assertNotEquals
import org.junit.Assert.assertNull
import org.junit.Assert.assertThrows
import org.junit.Assert.assertTrue
import org.junit.Assume.assumeTrue
import org.junit.Rule
import org.junit.Test
import org.junit.rules.TemporaryFolder

class StateStoreTest {
    @get:Rule val folder = TemporaryFolder()

    private val manifest = FakeBundle().manifest
    private val first = taught(FakeBundle())
    private val second = Knowledge(first.state, listOf("a", "b"), 2)
    private val third = Knowledge(first.state, listOf("c", "d"), 3)
    private val store by lazy { StateStore(File(folder.root, "new folder/state")) }

    @Test
    fun nothingIsThereAtFirst() = assertNull(store.load(manifest))

    @Test
    fun theNewestStateComesBackAndNothingElseIsLeft() {
        for (knowledge in listOf(first, second, third)) store.save(knowledge, manifest)
        val found = store.load(manifest)!!
        assertEquals(third.classNames to 3, found.knowledge.classNames to found.knowledge.lessons)
        assertNull(found.note)
        assertEquals(setOf("state", "state.previous"), names())
    }

    @Test
    fun aDamagedStateGivesWayToTheOneBefore() {
        store.save(first, manifest)
        store.save(second, manifest)
        store.file.writeBytes(store.file.readBytes().copyOf(500))
        val found = store.load(manifest)!!
        assertEquals(first.classNames, found.knowledge.classNames)
        assertTrue(found.note!!, "damaged" in found.note!! && "before it was taken" in found.note!!)
        store.save(third, manifest)
        store.file.writeBytes(ByteArray(3))
        assertEquals(first.classNames, store.load(manifest)!!.knowledge.classNames)
    }

    @Test
    fun whereAllAreDamagedItSaysSo() {
        store.save(first, manifest)
        store.file.writeBytes(ByteArray(3))
        assertThrows(DamagedStateException::class.java) { store.load(manifest) }
        assertNull("the damaged file is out of the way", store.load(manifest))
    }

    @Test
    fun aCrashAtAnyPointLeavesAWholeState() {
        val new = encodeState(second, manifest)
        val next = File(store.file.path + ".new")
        val previous = File(store.file.path + ".previous")
        store.file.parentFile.mkdirs()
        next.writeBytes(new.copyOf(100))
        assertNull("the first save of all was cut off", store.load(manifest))
        store.save(first, manifest)
        val old = store.file.readBytes()
        for (written in listOf(0, 100, new.size)) {
            next.writeBytes(new.copyOf(written))
            assertEquals(first.classNames, store.load(manifest)!!.knowledge.classNames)
        }
        // Between the two renamings.
        store.file.delete()
        previous.writeBytes(old)
        assertEquals(second.classNames, store.load(manifest)!!.knowledge.classNames)
        store.save(third, manifest)
        assertEquals(third.classNames, store.load(manifest)!!.knowledge.classNames)
        assertEquals(setOf("state", "state.previous"), names())
    }

    @Test
    fun aStateOfAnotherBundleIsNotTakenForDamage() {
        store.save(first, manifest)
        val other = FakeBundle(weights = "f".repeat(16)).manifest
        val error = assertThrows(InputException::class.java) { store.load(other) }
        assertTrue(error !is DamagedStateException)
        assertEquals(first.classNames, store.load(manifest)!!.knowledge.classNames)
    }

    @Test
    fun fullStorageLeavesTheOldStateAndSaysHowMuchIsNeeded() {
        val full = File("/dev/full")
        assumeTrue("this system has no /dev/full", full.exists())
        store.save(first, manifest)
        Files.createSymbolicLink(File(store.file.path + ".new").toPath(), full.toPath())
        val error = assertThrows(StorageException::class.java) { store.save(second, manifest) }
        assertTrue(error.message!!, Regex("could not be saved .* MB of storage").containsMatchIn(error.message!!))
        assertEquals(first.classNames, store.load(manifest)!!.knowledge.classNames)
        store.save(second, manifest)
        assertEquals(second.classNames, store.load(manifest)!!.knowledge.classNames)
    }

    @Test
    fun anUnwritableFolderIsStorageToo() {
        File(folder.root, "new folder").writeText("a file where the folder should be")
        assertThrows(StorageException::class.java) { store.save(first, manifest) }
    }

    @Test
    fun roomIsCheckedBeforehand() {
        store.checkRoom(manifest)
        val without = File("/proc")
        assumeTrue("this system has no file system without room", without.exists() && without.usableSpace == 0L)
        val nowhere = StateStore(File(without, "new folder/state"))
        val error = assertThrows(StorageException::class.java) { nowhere.checkRoom(manifest) }
        assertEquals(
            "The storage is full: to keep what is learnt, 1.0 MB are needed and 0.0 MB are free. Free some and try " +
                "again.",
            error.message,
        )
    }

    @Test
    fun bundlesOfOneLearnerShareAFile() {
        val root = folder.root
        val text = FakeBundle(classes = 5).manifestJson.toString().replace("\"fp32\"", "\"int8\"")
        val int8 = Manifest.parse(text.toByteArray())
        assertEquals(StateStore.of(root, manifest).file, StateStore.of(root, int8).file)
        val other = FakeBundle(weights = "f".repeat(16)).manifest
        assertNotEquals(StateStore.of(root, manifest).file, StateStore.of(root, other).file)
    }

    private fun names() = store.file.parentFile.list()!!.toSet()
}
